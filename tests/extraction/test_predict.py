"""Predict passes: shards, resuming, exact-once merging, batch sizes, bad numbers, two processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mia_bench import run
from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.loss import Loss
from mia_bench.config.schema import TrainerOptions
from mia_bench.data.source import Item
from mia_bench.extraction.module import AttackModule
from mia_bench.extraction.predict import run_pass
from mia_bench.extraction.shards import merge
from mia_bench.storage.feature_table import Table, read_table, write_table
from mia_bench.utils.errors import MiaError

CPU = TrainerOptions(accelerator="cpu")


def picture(i: int, size: int) -> Image.Image:
    values = np.random.default_rng(i).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(values)


def pairs(n: int) -> list[Item]:
    return [
        Item(
            f"made:{i:012x}",
            f"a picture of thing number {i}",
            f"{i}.png",
            lambda size, i=i: picture(i, size),
        )
        for i in range(n)
    ]


def ask(target, folder: Path, items, attacks=None, batch_size=4, resolution=16):
    attacks = attacks or {"loss": Loss()}
    places = {name: (attack, folder / name) for name, attack in attacks.items()}
    run_pass(target, places, items, resolution, batch_size, CPU, "test")
    ids = [item.sample_id for item in items]
    merged = {name: merge(folder / name, ids) for name in attacks}
    return {n: table for n, (table, _) in merged.items()}, {n: c for n, (_, c) in merged.items()}


def identical(one: Table, other: Table) -> bool:
    names = one.features.keys()
    same = all(np.array_equal(one.features[n], other.features[n]) for n in names)
    return same and one.sample_id == other.sample_id and names == other.features.keys()


def killed(monkeypatch, run, step=2, write=None):
    """`run` until batch `step`, or until shard number `write` is to be written."""
    predict, written = AttackModule.predict_step, []

    def dies(self, batch, batch_idx):
        if batch_idx == step:
            raise KeyboardInterrupt
        return predict(self, batch, batch_idx)

    def dies_writing(*arguments):
        if len(written) == write:
            raise KeyboardInterrupt
        written.append(arguments[0])
        write_table(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(AttackModule, "predict_step", dies)
        patch.setattr("mia_bench.extraction.shard_writer.write_table", dies_writing)
        with pytest.raises(BaseException):  # noqa: B017, PT011 - Lightning turns it into SystemExit
            run()


@pytest.mark.first_look
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_batch_size_and_order_do_not_change_features(fresh_target, tmp_path, batch_size):
    items = pairs(9)
    expected = ask(fresh_target(), tmp_path / "a", items, {"clid": CLiD()})[0]["clid"]
    found, _ = ask(fresh_target(), tmp_path / "b", items[::-1], {"clid": CLiD()}, batch_size)
    found = found["clid"].select([item.sample_id for item in items])
    # Matrix products of another shape round differently; noise is identical.
    np.testing.assert_allclose(found.features["loss"], expected.features["loss"], rtol=2e-5)


def test_a_killed_pass_continues_with_the_missing_rows(fresh_target, tmp_path, monkeypatch):
    items = pairs(10)
    whole, expected = ask(fresh_target(), tmp_path / "whole", items)
    killed(monkeypatch, lambda: ask(fresh_target(), tmp_path / "part", items))
    target = fresh_target()
    found, costs = ask(target, tmp_path / "part", items)
    assert target.queries["forward"] == 2
    assert identical(found["loss"], whole["loss"])
    assert costs["loss"].rows == expected["loss"].rows == 10
    assert costs["loss"].queries == expected["loss"].queries


def test_sigterm_ends_a_pass_which_the_next_completes(fresh_target, tmp_path, monkeypatch, capsys):
    """Lightning alone would go on to the end of the pass."""
    items, predict = pairs(10), AttackModule.predict_step

    def told_to_end(self, batch, batch_idx):
        if batch_idx == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return predict(self, batch, batch_idx)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(AttackModule, "predict_step", told_to_end)
        with pytest.raises(SystemExit) as ended:
            ask(fresh_target(), tmp_path, items)
    assert ended.value.code == 128 + signal.SIGTERM
    assert "Run the same command again" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    target = fresh_target()
    ask(target, tmp_path, items)
    assert target.queries["forward"] == 6


def test_a_pass_goes_on_with_another_batch_size(fresh_target, tmp_path, monkeypatch):
    items = pairs(10)
    whole = ask(fresh_target(), tmp_path / "whole", items)[0]["loss"]
    killed(monkeypatch, lambda: ask(fresh_target(), tmp_path / "part", items))
    found = ask(fresh_target(), tmp_path / "part", items, batch_size=5)[0]["loss"]
    np.testing.assert_allclose(found.features["loss"], whole.features["loss"], rtol=2e-5)


@pytest.mark.first_look
@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_batch_torn_between_attacks_is_asked_again_as_a_whole(
    fresh_target, tmp_path, monkeypatch, write
):
    """What attacks share decides the size of a chunk, and with it the last digits."""
    items, attacks = pairs(8), {"clid": CLiD(), "loss": Loss()}
    whole, expected = ask(fresh_target(), tmp_path / "whole", items, attacks)
    part = tmp_path / "part"
    killed(monkeypatch, lambda: ask(fresh_target(), part, items, attacks), write=write)
    assert sum(1 for _ in part.rglob("*.parquet")) == write
    target = fresh_target()
    found, costs = ask(target, part, items, attacks)
    batches = 2 - write // 2
    assert target.queries["forward"] == batches * 4 * CLiD().nfe[0]
    for name in attacks:
        assert identical(found[name], whole[name])
        for kind in ("asked", "forward"):
            assert costs[name].queries[kind] == expected[name].queries[kind]


def test_attacks_with_different_progress_are_completed_together(fresh_target, tmp_path):
    items = pairs(6)
    ask(fresh_target(), tmp_path, items[:3], {"loss": Loss()})
    found, _ = ask(fresh_target(), tmp_path, items, {"loss": Loss(), "clid": CLiD()})
    assert {name: len(table.sample_id) for name, table in found.items()} == {"loss": 6, "clid": 6}


def test_a_truncated_shard_is_asked_again(fresh_target, tmp_path):
    items = pairs(8)
    ask(fresh_target(), tmp_path, items)
    shard = sorted((tmp_path / "loss" / "shards").glob("*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:40])
    target = fresh_target()
    found, _ = ask(target, tmp_path, items)
    assert target.queries["forward"] == 4
    assert len(found["loss"].sample_id) == 8


def test_features_that_are_not_finite_name_attack_and_rows(fresh_target, tmp_path):
    target = fresh_target()
    with torch.no_grad():
        next(target.unet.parameters()).fill_(float("nan"))
    with pytest.raises(MiaError, match=r"attack loss: feature 'loss' is not finite for made:"):
        ask(target, tmp_path, pairs(3))
    assert not list(tmp_path.rglob("*.parquet"))


def test_nothing_is_written_twice(fresh_target, tmp_path):
    items = pairs(5)
    ask(fresh_target(), tmp_path, items)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    target = fresh_target()
    ask(target, tmp_path, items)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")} == before
    assert target.queries["forward"] == 0


@pytest.mark.long
def test_two_processes_give_every_id_once_and_equal_scores(run_python, tmp_path):
    """DDP on gloo through the command line, fine-tune included, against one process."""
    small = [
        "attack=loss",
        "finetune.steps=2",
        "finetune.batch_size=4",
        "finetune.val_every=2",
        "finetune.val_rows=4",
        "eval.resamples=100",
        "eval.base_rows=[]",
        "data.sizes.target_member=6",
        "data.sizes.target_nonmember=7",
        "data.sizes.shadow_member=10",
        "data.sizes.shadow_nonmember=10",
        "calibration.folds=2",
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    run(*small, "trainer=cpu", f"paths.outputs={one}")
    paths = sorted(one.glob("features/*/2/loss-*/features.parquet"))
    tables = {path.relative_to(one): read_table(path) for path in paths}
    assert sorted(len(table.sample_id) for table in tables.values()) == [13, 20]
    # all that the second process would be asked about the target is there
    [(path, known)] = [found for found in tables.items() if len(found[1].sample_id) == 13]
    shards = two / f"{path.parent}.tmp" / "shards"
    shards.mkdir(parents=True)
    for part in ("splits", "cache"):
        shutil.copytree(one / part, two / part)
    write_table(shards / "001-before.parquet", known.take(range(1, 13, 2)))
    ddp = ("trainer=ddp", "trainer.accelerator=cpu")
    run_python("-m", "mia_bench", *small, *ddp, f"paths.outputs={two}")
    for path, known in tables.items():
        found = read_table(two / path)
        assert found.sample_id == known.sample_id
        assert len(set(found.sample_id)) == len(found.sample_id)
        # Two half batches sum gradients in another order than one whole batch.
        np.testing.assert_allclose(found.features["loss"], known.features["loss"], rtol=1e-3)
    manifests = [json.loads(p.read_text()) for p in tmp_path.glob("*/targets/*/manifest.json")]
    assert len(manifests) == 4
