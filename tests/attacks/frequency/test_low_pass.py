"""low_pass.py against the filter of the paper, carried out on latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mia_bench.attacks import Calibration
from mia_bench.attacks.frequency.low_pass import (
    FLOORS,
    MULTIPLES,
    LowPass,
    check_options,
    chosen_for_distance,
    default_radius,
    low_pass_features,
    radii_of,
    require_fitting,
)


def stored(features: dict[str, Tensor]) -> dict[str, Any]:
    return {name: values.numpy() for name, values in features.items()}


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (12, 16), (9, 9)])
@pytest.mark.parametrize("radius", [None, 2, 4])
def test_distances_are_those_of_filtered_latents(
    size: tuple[int, int], radius: int | None, low_pass: Callable[..., Tensor]
) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    features = stored(low_pass_features(x, radius))
    side = min(size)
    for index, r in enumerate(radii_of(radius or default_radius(side), side)):
        for shape in ("square", "circle"):
            for floor in FLOORS:
                distances = LowPass(shape, floor, index)(features)  # type: ignore[arg-type]
                expected = [low_pass(row, r, floor, shape).square().sum() for row in x]
                np.testing.assert_allclose(distances, expected, rtol=1e-4)


def test_rings_hold_the_whole_energy_and_circles_its_sums() -> None:
    x = torch.randn(3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    features = low_pass_features(x, None)
    rings, passed = features["rings"], features["passed"]
    assert rings.shape == (3, 8)
    torch.testing.assert_close(rings.sum(1), x.square().flatten(1).sum(1))
    radii = radii_of(default_radius(64), 64)
    assert radii == [5, 2, 10, 15, 20, 30, 32]
    ascending = [radii.index(r) for r in sorted(radii)]
    torch.testing.assert_close(rings.cumsum(1)[:, :-1], passed[:, ascending, 0])


def test_a_single_wave_is_passed_up_to_its_frequency() -> None:
    """cos(2 pi 3 x / 16): energy 1/2 per element at k = -3 and k = 3."""
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    features = stored(low_pass_features(wave, 2))
    energy, radii = 128.0, radii_of(2, 16)
    for index, r in enumerate(radii):
        circle = energy if r >= 3 else 0.0
        # a square that ends at 3 takes -3 alone, half of the amplitude; 8 is all there is
        square = energy if r > 3 else 0.25 * energy if r == 3 else 0.0
        assert LowPass("circle", 0.0, index)(features) == pytest.approx([circle], abs=1e-3)
        assert LowPass("square", 0.0, index)(features) == pytest.approx([square], abs=1e-3)
    assert LowPass("square", 0.2)(features) == pytest.approx([0.04 * energy], rel=1e-4)
    features = stored(low_pass_features(wave, 3))
    assert LowPass("square", 0.0)(features) == pytest.approx([0.25 * energy], rel=1e-4)
    assert LowPass("square", 0.2)(features) == pytest.approx([0.36 * energy], rel=1e-4)


@pytest.mark.parametrize(("side", "radius"), [(8, 1), (16, 1), (32, 2), (64, 5), (128, 10)])
def test_the_radius_follows_the_latents(side: int, radius: int) -> None:
    assert default_radius(side) == radius
    radii = radii_of(radius, side)
    assert radii[0] == radius
    assert len(radii) == len(MULTIPLES)
    assert 1 <= min(radii) <= max(radii) <= side // 2


def test_a_filter_larger_than_the_latents_is_refused() -> None:
    require_fitting(4, 8)
    require_fitting(None, 2)
    with pytest.raises(ValueError, match=r"radius=5 .* larger than the 8 x 8 latents: .* most 4"):
        low_pass_features(torch.zeros(1, 4, 8, 8), 5)


@pytest.mark.parametrize(("radius", "floor"), [(0, 0.2), (None, -0.1), (None, 1.1)])
def test_nonsense_is_refused(radius: int | None, floor: float) -> None:
    with pytest.raises(ValueError, match=r"radius=0|floor="):
        check_options(radius, floor)


def test_the_filter_is_chosen_on_calibration_rows() -> None:
    """Members have less energy up to frequency 4 and more beyond: a filter must cut it off."""
    draw = np.random.default_rng(0)
    member = np.arange(40) < 20
    x = torch.tensor(draw.normal(size=(40, 1, 16, 16)), dtype=torch.float32)
    spectrum = torch.fft.fftshift(torch.fft.fft2(x), dim=(-2, -1))
    spectrum[torch.tensor(member)] *= 2
    spectrum[torch.tensor(member), :, 8 - 4 : 8 + 4, 8 - 4 : 8 + 4] *= 0.1
    x = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real
    features = stored(low_pass_features(x, 2))
    calibration = Calibration(features, member, np.arange(40).astype(str))
    choice = chosen_for_distance(calibration)
    areas = {
        (shape, i, floor): roc_auc_score(member, -LowPass(shape, floor, i)(features))  # type: ignore[arg-type]
        for shape in ("square", "circle")
        for i in range(len(MULTIPLES))
        for floor in FLOORS
    }
    assert areas[choice.shape, choice.multiple, choice.floor] == max(areas.values()) > 0.99
    assert areas["square", 0, 1.0] < 0.01
    assert choice.described() == {"radius": 1.0, "floor": 0.0, "square": 1.0}  # the first of equals
