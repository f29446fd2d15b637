"""Measures of the hole alone and of whole pictures, against sums written out."""

from __future__ import annotations

import pytest
import torch

from mia_bench.attacks.components.image_similarity import SIGN
from mia_bench.attacks.components.region_measures import (
    REGION_MEASURES,
    mean_over_hidden,
    measure_region,
    pasted,
)


@pytest.fixture
def scene():
    """Originals, two restorations, and masks of different sizes, (2, 3, 12, 12)."""
    generator = torch.Generator().manual_seed(0)
    x, one, two = (torch.rand(2, 3, 12, 12, generator=generator) * 2 - 1 for _ in range(3))
    keep = torch.ones(2, 1, 12, 12, dtype=torch.bool)
    keep[0, :, 2:5, 3:9] = False
    keep[1, :, 7, 7] = False
    return x, [one, two], keep


def test_the_hole_alone_is_compared(scene):
    x, restored, keep = scene
    found = measure_region("hole_mse", None, x, restored, keep)
    for i in range(2):
        errors = [((r[i] - x[i]) ** 2)[:, ~keep[i, 0]].mean().item() for r in restored]
        assert found[i].item() == pytest.approx(sum(errors) / 2, rel=1e-5)
    elsewhere = [torch.where(keep, -r, r) for r in restored]  # what is outside plays no role
    torch.testing.assert_close(measure_region("hole_mse", None, x, elsewhere, keep), found)


def test_the_spread_is_the_variance_over_restorations(scene):
    x, restored, keep = scene
    found = measure_region("spread", None, x, restored, keep)
    for i in range(2):
        half = (restored[0][i] - restored[1][i]) ** 2 / 2
        assert found[i].item() == pytest.approx(half[:, ~keep[i, 0]].mean().item(), rel=1e-5)


def test_whole_pictures(scene):
    x, restored, keep = scene
    found = measure_region("whole_mse", None, x, restored, keep)
    expected = torch.stack([((r - x) ** 2).flatten(1).mean(1) for r in restored]).mean(0)
    torch.testing.assert_close(found, expected)
    same = measure_region("whole_ssim", None, x, [x, x], keep)
    torch.testing.assert_close(same, torch.ones(2))


def test_without_a_mask_every_pixel_was_changed(scene):
    x, restored, _ = scene
    torch.testing.assert_close(
        measure_region("hole_mse", None, x, restored, None),
        measure_region("whole_mse", None, x, restored, None),
    )
    torch.testing.assert_close(mean_over_hidden(x, None), x.flatten(1).mean(1))


def test_known_pixels_are_pasted_back(scene):
    x, restored, keep = scene
    found = pasted(restored[0], x, keep)
    assert torch.equal(found != x, (~keep).expand_as(x))
    assert torch.equal(pasted(restored[0], x, None), restored[0])


def test_every_measure_has_a_sign():
    assert set(REGION_MEASURES) < set(SIGN)
