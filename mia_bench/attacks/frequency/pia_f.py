"""PIA+F: PIA's two predictions compared at low frequencies.

Paper: "FreMIA", ICML 2026, arXiv 2505.20955, on PIA (arXiv 2305.18355); code poetic2/FreMIA.
    e0    = eps(z0, 0, c)
    x0hat = (z_t - b_t eps(z_t, t, c)) / a_t,     z_t = a_t z0 + b_t e0
    score = - || F(x0hat) - F(z0) ||_2^2  =  - (b_t / a_t)^2 || F(e0 - eps(z_t, t, c)) ||_2^2
F, fixed and tuned: low_pass.py and fremia.py.
Access: GREY_BOX. NFE: 2, both PIA's own.
Differs: as fremia.py. The norm is the paper's L2, where PIA takes L4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.attacks.frequency.fremia import clean_per_noise
from mia_bench.attacks.frequency.low_pass import (
    PASSED,
    LowPass,
    check_filter,
    check_options,
    distance_filter,
    low_pass_features,
)
from mia_bench.attacks.pia import proximal_pair
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class PIAF:
    """Args: `t` of the second query; the others as in FreMIA."""

    t: int = 500
    radius: int | None = None
    filter: Literal["square", "circle"] = score_field("square")
    floor: float = score_field(0.2)
    decision: Literal["fixed", "tuned"] = score_field("fixed")
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_options(self.radius, self.floor)
        if self.t < 0:
            raise ValueError(f"t={self.t} must be 0 or more")

    @property
    def nfe(self) -> tuple[int, int]:
        return 2, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return (0, self.t)

    @property
    def repeated(self) -> tuple[str, ...]:
        """Energies that are in `rings` in another order."""
        return (PASSED,)

    def check_latents(self, side: int) -> None:
        """Raises MiaError for a filter larger than the latents."""
        check_filter(self.radius, side)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`rings` (B, rings) and `passed` (B, radii, 3): energies of x0hat - z0."""
        e0, e_t = proximal_pair(target, batch, self.t, normalise=False)
        return low_pass_features((e0 - e_t) * clean_per_noise(target, self.t), self.radius)

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the filtered distance."""
        return -self._low_pass(calibration)(features)

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """The filter, where one is chosen."""
        return self._low_pass(calibration).described() if self.decision == "tuned" else {}

    def _low_pass(self, calibration: Calibration) -> LowPass:
        return distance_filter(self.filter, self.floor, self.decision, calibration)
