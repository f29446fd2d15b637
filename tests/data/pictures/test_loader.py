"""Loading: nothing is decoded that is not needed, and workers change nothing but the time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mia_bench.attacks.loss import Loss
from mia_bench.attacks.pfami import PFAMI
from mia_bench.config.schema import TrainerOptions
from mia_bench.data.pictures.loader import batch_of, cut, decode, loader
from mia_bench.data.source import Item
from mia_bench.extraction.predict import run_pass
from mia_bench.extraction.shards import merge
from mia_bench.storage.feature_table import Table
from mia_bench.target.tensor_cache import TensorCache


def draw(i: int, size: int) -> Image.Image:
    values = np.random.default_rng(i).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(values)


def items(n: int) -> list[Item]:
    return [Item(f"made:{i:012x}", f"thing {i}", str(i), partial(draw, i)) for i in range(n)]


@dataclass
class Lost:
    """A picture that cannot be read any more."""

    def __call__(self, size: int) -> Image.Image:
        raise AssertionError("a picture was opened")


def lost(n: int) -> list[Item]:
    return [Item(f"made:{i:012x}", f"thing {i}", str(i), Lost()) for i in range(n)]


def test_a_batch_has_what_its_items_say():
    batch = batch_of(items(3), 8)
    assert batch.sample_id == tuple(f"made:{i:012x}" for i in range(3))
    assert batch.caption == ("thing 0", "thing 1", "thing 2")
    assert torch.equal(batch.image, decode(items(3), 8))
    assert decode([], 8).shape == (0, 3, 8, 8)


def features(folder: Path, target, rows: list[Item], workers: int = 0) -> dict[str, Table]:
    attacks = {"loss": Loss(), "pfami": PFAMI(timesteps=(50,))}
    places = {name: (attack, folder / name) for name, attack in attacks.items()}
    options = TrainerOptions(accelerator="cpu", workers=workers)
    run_pass(target, places, rows, 16, 4, options, "test")
    return {name: merge(folder / name, [row.sample_id for row in rows])[0] for name in attacks}


@pytest.mark.first_look
@pytest.mark.parametrize("workers", [0, 1])
def test_a_pass_with_a_warm_cache_opens_no_picture(workers, random_target, tmp_path):
    store = TensorCache(tmp_path / "cache")
    cold = features(tmp_path / "cold", random_target(store=store), items(6), workers)
    target = random_target(store=TensorCache(tmp_path / "cache"))
    warm = features(tmp_path / "warm", target, lost(6), workers)
    assert target.queries["encode"] == 0
    for name in cold:
        (values,) = cold[name].features.values()
        np.testing.assert_array_equal(values, *warm[name].features.values())


def test_workers_decode_ahead_what_is_not_cached(random_target, tmp_path):
    store = TensorCache(tmp_path)
    random_target(store=store).view(batch_of(items(4), 16))
    options = TrainerOptions(accelerator="cpu", workers=1)
    batches = list(loader(cut(items(8), 4), 16, options, store))
    assert [batch.decoded for batch in batches] == [False, True]
    assert torch.equal(batches[1].image, decode(items(8)[4:], 16))
    assert [batch.decoded for batch in loader(cut(items(8), 4), 16, options)] == [True, True]
