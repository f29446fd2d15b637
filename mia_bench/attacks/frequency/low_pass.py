"""The low-pass filter of FreMIA, applied to stored energies.

Paper: "FreMIA", ICML 2026, arXiv 2505.20955, and its released code (poetic2/FreMIA, June 2026).
    F(x) = Re IFFT2( ifftshift( M * fftshift( FFT2(x) ) ) ) per channel
    M    = 1 in a region around frequency zero, `floor` outside
region, `filter`:
    square   rows and columns [H/2 - r, H/2 + r), as in the code
    circle   |k| <= r, as in the paper [S: read second hand; whether r is inside: ASSUME]
r, `radius`: 5 of 64 in the code for Stable Diffusion, scaled here to the latents [ours]:
    r = max(1, round(5/64 H)), 2 at 32 pixels, which is the paper's for pixel models
floor: .2 in the code, 0 in the paper.

The square takes k = -r and leaves k = r out, so M is not symmetric, and the real part halves what
it passes there. For real x, with s = floor and Parseval's identity,
    || F(x) ||^2 = whole + ((1 + s) / 2)^2 half + s^2 rest
where `whole` is the energy |FFT2(x)|^2 / (H W) at the k for which k and -k are both in the region,
`half` that at the k for which one of the two is. A circle has no `half`. So the distance under
every filter follows from a few stored energies, exactly, and trying another one costs no query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import Calibration, Features, Floats
from mia_bench.metrics import auroc
from mia_bench.utils.errors import MiaError
from mia_bench.utils.precision import exactly

Shape = Literal["square", "circle"]

RADIUS_PER_SIDE = 5 / 64  # of the released code
MULTIPLES = (1.0, 0.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # of the radius; the first is the fixed one
FLOORS = (0.0, 0.2, 0.5, 1.0)  # to choose from; 1 is the attack without a filter
RINGS, PASSED = "rings", "passed"  # names of the features
CIRCLE, SQUARE, SQUARE_HALF = range(3)  # energies of one radius in `passed`


@dataclass(frozen=True)
class LowPass:
    """One filter on stored energies; `multiple` is an index of MULTIPLES."""

    shape: Shape
    floor: float
    multiple: int = 0

    def __call__(self, features: Features) -> Floats:
        """|| F(x) ||^2, (N, ...), of `rings` (N, ..., rings) and `passed` (N, ..., radii, 3)."""
        total = np.asarray(features[RINGS], dtype=np.float64).sum(axis=-1)
        passed = np.asarray(features[PASSED], dtype=np.float64)[..., self.multiple, :]
        whole, half = passed[..., CIRCLE], np.zeros_like(total)
        if self.shape == "square":
            whole, half = passed[..., SQUARE], passed[..., SQUARE_HALF]
        edge = ((1 + self.floor) / 2) ** 2 * half
        distance: Floats = whole + edge + self.floor**2 * (total - whole - half)
        return distance

    def described(self) -> dict[str, float]:
        """What was chosen, as numbers: the radius in multiples of the given one."""
        multiple = MULTIPLES[self.multiple]
        return {"radius": multiple, "floor": self.floor, "square": float(self.shape == "square")}


def chosen_filter(score: Callable[[LowPass], Floats], calibration: Calibration) -> LowPass:
    """The filter under which scores of the calibration rows have the highest AUC; of equals the
    first, so the given radius where all are alike.

    Args:
        score: of all calibration rows, (N,), under a filter.
    """
    filters = list(_every_filter())
    areas = [auroc(score(low_pass), calibration.is_member) for low_pass in filters]
    return filters[int(np.argmax(areas))]


def chosen_for_distance(calibration: Calibration) -> LowPass:
    """`chosen_filter` of attacks that score minus the filtered distance."""
    return chosen_filter(lambda low_pass: -low_pass(calibration.features), calibration)


def distance_filter(
    shape: Shape, floor: float, decision: Literal["fixed", "tuned"], calibration: Calibration
) -> LowPass:
    """The filter as given, or the one that `chosen_for_distance` chooses."""
    return LowPass(shape, floor) if decision == "fixed" else chosen_for_distance(calibration)


def _every_filter() -> Iterator[LowPass]:
    shapes: tuple[Shape, ...] = ("square", "circle")
    for shape in shapes:
        for multiple in range(len(MULTIPLES)):
            for floor in FLOORS:
                yield LowPass(shape, floor, multiple)


# --- energies ------------------------------------------------------------------------------------


def low_pass_features(x: Tensor, radius: int | None) -> dict[str, Tensor]:
    """What `LowPass` reads; an ensemble gets the rings.

    Args:
        x: differences (..., C, h, w).
        radius: of the fixed filter; None for `default_radius`.

    Returns:
        `rings` (..., rings): energy between one radius and the next, in circles; its sum is
        || x ||^2. `passed` (..., radii, 3): energy inside each of MULTIPLES of the radius: in the
        circle, in the square, and on the edge of the square, of which the filter takes half.

    Raises:
        ValueError: a filter larger than the latents.
    """
    side = min(x.shape[-2:])
    require_fitting(radius, side)
    radii = radii_of(default_radius(side) if radius is None else radius, side)
    size = (x.shape[-2], x.shape[-1])
    with exactly(x.device):
        power = torch.fft.fft2(x.float()).abs().square().sum(-3) / (size[0] * size[1])
        passed = torch.einsum("...hw,rmhw->...rm", power, _masks(size, radii).to(power))
        rings = torch.einsum("...hw,rhw->...r", power, _rings(size, radii).to(power))
    return {RINGS: rings, PASSED: passed}


def default_radius(side: int) -> int:
    """The released code's 5 of 64 at latents of another size."""
    return max(1, round(RADIUS_PER_SIDE * side))


def radii_of(radius: int, side: int) -> list[int]:
    """MULTIPLES of a radius, between 1 and half of the latents' side; some may be equal."""
    return [min(max(1, round(multiple * radius)), side // 2) for multiple in MULTIPLES]


def require_fitting(radius: int | None, side: int) -> None:
    """Raises ValueError for a filter larger than latents of `side` cells a side."""
    if radius is not None and 2 * radius > side:
        raise ValueError(
            f"radius={radius} is a filter of {2 * radius} frequencies a side, larger than the "
            f"{side} x {side} latents: use at most {side // 2}, or null for "
            f"{default_radius(side)}, the published one at this size"
        )


def check_filter(radius: int | None, latent_side: int) -> None:
    """`require_fitting` for a plan. Raises MiaError."""
    try:
        require_fitting(radius, latent_side)
    except ValueError as error:
        raise MiaError(f"{error}.") from error


def check_options(radius: int | None, floor: float) -> None:
    """Raises ValueError for a filter without meaning."""
    if radius is not None and radius < 1:
        raise ValueError(f"radius={radius} must be at least 1, or null to follow the latents' size")
    if not 0 <= floor <= 1:
        raise ValueError(f"floor={floor} must lie in [0, 1]")


def _frequencies(size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Whole frequencies (h, 1) and (1, w) in the order of FFT2, from -h/2 to h/2 - 1."""
    rows, columns = (torch.fft.fftfreq(n, d=1 / n).round().long() for n in size)
    return rows[:, None], columns[None, :]


def _masks(size: tuple[int, ...], radii: list[int]) -> Tensor:
    """(radii, 3, h, w): frequencies of CIRCLE, SQUARE and SQUARE_HALF."""
    rows, columns = _frequencies(size)
    masks = []
    for r in radii:
        square = (rows >= -r) & (rows < r) & (columns >= -r) & (columns < r)
        opposite = torch.roll(square.flip(0, 1), (1, 1), (0, 1))  # whether -k is in the square
        circle = rows.square() + columns.square() <= r**2
        masks.append(torch.stack([circle, square & opposite, square ^ opposite]))
    return torch.stack(masks)


def _rings(size: tuple[int, ...], radii: list[int]) -> Tensor:
    """(rings, h, w): frequencies up to the smallest radius, between radii, and beyond the last."""
    rows, columns = _frequencies(size)
    squared = rows.square() + columns.square()
    edges = torch.tensor(sorted(set(radii))).square()
    ring = torch.bucketize(squared, edges)  # edges[i - 1] < |k|^2 <= edges[i]
    return torch.stack([ring == i for i in range(len(edges) + 1)])
