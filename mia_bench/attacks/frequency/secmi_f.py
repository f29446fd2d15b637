"""SecMI+F: SecMI's round trip compared at low frequencies.

Paper: "FreMIA", ICML 2026, arXiv 2505.20955, on SecMI (arXiv 2302.01316); code poetic2/FreMIA.
    z~    = DDIM inversion of z0:  0 -> k -> ... -> t_sec
    z'    = DDIM(DDIM(z~; t_sec -> t_sec + k); t_sec + k -> t_sec)
    score = - || F(z') - F(z~) ||_2^2
F, fixed and tuned: low_pass.py and fremia.py.
Access: GREY_BOX. NFE: t_sec/k + 2 (16), all of them SecMI's own.
Differs: as fremia.py. The released code ends an inversion in steps of 10 by a turn in steps of 1,
100 -> 101 -> 100; here the round trip is that of `secmi`, 140 -> 150 -> 140: one walk serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.attacks.frequency.low_pass import (
    PASSED,
    LowPass,
    check_filter,
    check_options,
    distance_filter,
    low_pass_features,
)
from mia_bench.attacks.secmi import SecMI, round_trip
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class SecMIF:
    """Args: `t_sec` a multiple of the stride `k`; the others as in FreMIA."""

    t_sec: int = 140
    k: int = 10
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
        self._plain()  # what it refuses

    def _plain(self) -> SecMI:
        return SecMI(self.t_sec, self.k)

    @property
    def nfe(self) -> tuple[int, int]:
        return self._plain().nfe

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self._plain().asks_at(schedule)

    @property
    def repeated(self) -> tuple[str, ...]:
        """Energies that are in `rings` in another order."""
        return (PASSED,)

    def check_latents(self, side: int) -> None:
        """Raises MiaError for a filter larger than the latents."""
        check_filter(self.radius, side)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`rings` (B, rings) and `passed` (B, radii, 3): energies of z' - z~."""
        return low_pass_features(round_trip(target, batch, self.t_sec, self.k), self.radius)

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the filtered distance."""
        return -self._low_pass(calibration)(features)

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """The filter, where one is chosen."""
        return self._low_pass(calibration).described() if self.decision == "tuned" else {}

    def _low_pass(self, calibration: Calibration) -> LowPass:
        return distance_filter(self.filter, self.floor, self.decision, calibration)
