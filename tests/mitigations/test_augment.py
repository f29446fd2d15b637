"""Augmentation: what each operation does to a picture, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import TrainingContext
from mia_bench.mitigations.augment import Augment
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator


@pytest.fixture
def wide() -> Image.Image:
    """30 x 20 pixels, no two alike."""
    values = np.arange(30 * 20 * 3, dtype=np.uint32) * 2654435761 >> 24
    return Image.fromarray(values.astype(np.uint8).reshape(20, 30, 3))


def view(augment: Augment, image: Image.Image, key: int = 0) -> np.ndarray:
    return np.asarray(augment.transform(image, keyed_generator(key)))


def test_a_whole_window_moves_along_the_longer_side_alone(wide):
    """diffusers' script without --center_crop: the full shorter side, anywhere along the other."""
    whole = np.asarray(wide)
    lefts = set()
    for key in range(40):
        found = view(Augment(crop=1.0), wide, key)
        assert found.shape == (20, 20, 3)
        lefts |= {i for i in range(11) if np.array_equal(whole[:, i : i + 20], found)}
    assert {0, 10} < lefts


def test_a_window_keeps_at_least_its_share(wide):
    sides = [len(view(Augment(crop=0.5), wide, key)) for key in range(60)]
    assert min(sides) >= 10
    assert max(sides) >= 18
    assert len(set(sides)) > 5


def test_flips_happen_with_their_probability(wide):
    whole, found = np.asarray(wide), [view(Augment(flip=0.3), wide, key) for key in range(300)]
    flipped = [np.array_equal(image, whole[:, ::-1]) for image in found]
    assert all(f or np.array_equal(i, whole) for f, i in zip(flipped, found, strict=True))
    assert np.mean(flipped) == pytest.approx(0.3, abs=0.08)


def test_cutout_hides_a_square_of_its_share():
    white = Image.new("RGB", (40, 40), "white")
    areas = [(view(Augment(cutout=0.5), white, key) == 128).all(2).sum() for key in range(60)]
    assert max(areas) == 400  # 20 x 20, where the border does not cut it
    assert min(areas) >= 100  # a quarter of it stays inside, whatever the centre


@pytest.mark.parametrize("weak", [{"colour": 0.02}, {"colour": 0.0, "cutout": 0.05}])
def test_strength_is_a_number(wide, weak):
    strong = {name: min(0.9, 10 * value) for name, value in weak.items()}
    changes = [
        np.mean([np.abs(view(Augment(**s), wide, k).astype(int) - wide).mean() for k in range(20)])
        for s in (weak, strong)
    ]
    assert 0 < changes[0] < changes[1] / 3


def test_a_view_depends_on_its_draw_alone(wide):
    import torch

    augment = Augment(crop=0.6, flip=0.5, colour=0.4, cutout=0.3, randaugment=9)
    torch.manual_seed(1)
    first, state = view(augment, wide), torch.get_rng_state()
    torch.manual_seed(2)
    np.testing.assert_array_equal(view(augment, wide), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # nothing was drawn from the global generator
    assert any(view(augment, wide, key).shape != first.shape for key in range(1, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "every operation is off"),
        ({"crop": 1.5}, "crop is a share"),
        ({"flip": 2.0}, "between 0 and 1"),
        ({"randaugment": 31}, "between 0 and 30"),
        ({"flip": 0.5, "bank": 1}, "shows the same image at every step"),
    ],
)
def test_senseless_strengths_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)


def test_cached_latents_are_refused():
    recipe = Recipe(steps=5, batch_size=2, lr=1e-3, cache_latents=True, seed=0)
    context = TrainingContext(recipe, 10, 5, 1, "32-true")
    with pytest.raises(MiaError, match="augmentation would do nothing"):
        Augment(flip=0.5).check(context)
    Augment(flip=0.5, bank=4).check(context)
