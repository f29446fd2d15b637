"""What training is shown: augmented views that no cache can undo, and reworded captions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mia_bench.config.recipe import Recipe
from mia_bench.config.schema import TrainerOptions
from mia_bench.data.pictures.preprocessing import pixels
from mia_bench.data.source import Item
from mia_bench.mitigations import TrainingContext, TrainingSetup
from mia_bench.mitigations.augment import Augment
from mia_bench.mitigations.captions import DeleteWords, ShuffleCaptions
from mia_bench.target import Batch
from mia_bench.target.tensor_cache import TensorCache
from mia_bench.training import views as training_views
from mia_bench.training.batches import EncodedRows, StepBatches
from mia_bench.training.finetune import finetune
from mia_bench.training.module import FinetuneModule
from mia_bench.training.views import AugmentedViews, training_rows

CPU = TrainerOptions(accelerator="cpu")
RECIPE = Recipe(steps=3, batch_size=4, lr=1e-2, val_every=3, val_rows=2, seed=0)
N = 6


def picture(i: int) -> Image.Image:
    values = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(values)


ITEMS = [
    Item(f"made:{i}", f"thing {i}, red and big", f"{i}", lambda _, i=i: picture(i))
    for i in range(N)
]


@pytest.fixture
def cached(fresh_target, tmp_path):
    """A target whose latents of every clean image are cached on disk, and those rows."""
    target = fresh_target()
    target.store = TensorCache(tmp_path / "cache")
    images = torch.stack([pixels(picture(i), 16) for i in range(N)])
    ids, captions = tuple(i.sample_id for i in ITEMS), tuple(i.caption for i in ITEMS)
    z0 = target.view(Batch(ids, images, captions)).z0
    target.forget()
    return target, EncodedRows(ids, z0, target.embed(captions))


def treated(mitigations, recipe: Recipe = RECIPE) -> TrainingSetup:
    return TrainingSetup(TrainingContext(recipe, N, 0, 1, "32-true"), mitigations)


def seen_latents(cached, augment: Augment, folder, monkeypatch) -> list[torch.Tensor]:
    """The latents of every training step of a real fine-tune."""
    target, rows = cached
    setup = treated({"augment": augment})
    found = []
    latents = FinetuneModule._latents

    def noted(self, batch):
        found.append(latents(self, batch))
        return found[-1]

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, "_latents", noted)
        seen, views = training_views.training_rows(target, rows, ITEMS, 16, setup)
        finetune(target, rows, None, setup, CPU, folder, training_rows=seen, views=views)
    return found


def assert_augmented(cached, augment, folder, monkeypatch) -> None:
    """No step repeats a clean latent, and a row differs between steps."""
    _, rows = cached
    steps = seen_latents(cached, augment, folder, monkeypatch)
    order = [StepBatches(rows, RECIPE, 1000).step(s)["row"] for s in range(3)]
    for z0, row in zip(steps, order, strict=True):
        assert not any(torch.equal(z, rows.z0[i]) for z, i in zip(z0, row, strict=True))
    views = {}
    for z0, row in zip(steps, order, strict=True):
        for z, i in zip(z0, row.tolist(), strict=True):
            views.setdefault(i, []).append(z)
    assert any(not torch.equal(v[0], v[-1]) for v in views.values() if len(v) > 1)


CROP = {"crop": 0.7, "colour": 0.4}


@pytest.mark.parametrize("bank", [None, 3])
def test_augmented_training_never_sees_cached_latents(cached, tmp_path, monkeypatch, bank):
    assert_augmented(cached, Augment(**CROP, bank=bank), tmp_path, monkeypatch)


def test_without_the_invalidation_the_check_fails(cached, tmp_path, monkeypatch):
    """Take the views away, and training is back on cached latents: the check above notices."""
    monkeypatch.setattr(
        training_views, "training_rows", lambda _target, members, *_: (members, None)
    )
    with pytest.raises(AssertionError):
        assert_augmented(cached, Augment(**CROP), tmp_path, monkeypatch)


def test_uncached_training_sees_the_same_latents(cached):
    target, rows = cached
    recipe = replace(RECIPE, cache_latents=False)
    _, views = training_rows(target, rows, ITEMS, 16, treated({}, recipe))
    assert views is not None
    image = views.of_step(0, [2, 4], [0, 1])
    assert torch.allclose(target.encode(image), rows.z0[[2, 4]], atol=1e-6)
    assert training_rows(target, rows, ITEMS, 16, treated({}))[1] is None


def test_a_view_is_keyed_by_step_and_place():
    views = AugmentedViews(ITEMS, 16, [Augment(crop=0.5)], 0)
    one, two = views.of_step(3, [1, 1], [0, 1])
    assert not torch.equal(one, two)
    assert torch.equal(views.of_step(3, [1], [1])[0], two)
    assert not torch.equal(views.of_step(4, [1], [1])[0], two)
    other = AugmentedViews(ITEMS, 16, [Augment(crop=0.5)], 1)
    assert not torch.equal(other.of_step(3, [1], [1])[0], two)


def test_a_bank_and_reworded_captions_are_drawn_from_evenly(cached):
    target, rows = cached
    setup = treated(
        {
            "augment": Augment(crop=0.5, bank=2),
            "caption_delete": DeleteWords(share=0.5, versions=3),
        }
    )
    seen, views = training_rows(target, rows, ITEMS, 16, setup)
    assert views is None
    assert (seen.views, seen.texts, len(seen.z0), len(seen.cond.key)) == (2, 3, 2 * N, 3 * N)
    batches = [StepBatches(seen, replace(RECIPE, steps=200), 1000).step(s) for s in range(200)]
    row, view, text = (torch.cat([b[n] for b in batches]) for n in ("row", "view", "text"))
    assert torch.equal(view // 2, row)
    assert torch.equal(text // 3, row)
    assert torch.bincount(view % 2).min() > 330
    assert torch.bincount(text % 3).min() > 210
    words = set(ITEMS[4].caption.split())
    assert set(seen.cond.key[4 * 3].split()) < words


def test_rewording_composes_in_order(cached):
    target, rows = cached
    both = treated({"delete": DeleteWords(share=0.5), "shuffle": ShuffleCaptions(1.0)})
    seen, _ = training_rows(target, rows, ITEMS, 16, both)
    for own, text in zip(rows.cond.key, seen.cond.key, strict=True):
        donors = [c for c in rows.cond.key if set(text.split()) <= set(c.split())]
        assert len(text.split()) < len(own.split())
        assert own not in donors or len(donors) > 1


def test_poisson_steps_vary_in_size_around_the_batch(cached):
    _, rows = cached
    many = EncodedRows(tuple(map(str, range(50))), rows.z0[[0] * 50], rows.cond)
    batches = StepBatches(many, replace(RECIPE, batch_size=5), 1000, poisson=True)
    steps = [batches.step(s) for s in range(400)]
    sizes = np.array([int(b["weight"].sum()) for b in steps])
    assert sizes.mean() == pytest.approx(5, abs=0.4)
    assert sizes.std() == pytest.approx(np.sqrt(5 * 0.9), abs=0.4)
    assert all(len(set(b["row"].tolist())) == len(b["row"]) for b in steps)
    empty = [b for b in steps if b["weight"].sum() == 0]
    assert all(len(b["row"]) == 1 for b in empty)
