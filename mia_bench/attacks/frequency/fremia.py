"""FreMIA on the plain loss: how well the low frequencies of an image are denoised.

Paper: "FreMIA", ICML 2026, arXiv 2505.20955 ("naive + F"); released code poetic2/FreMIA.
Idea: high frequencies are hard to predict, for members as for others, and bury the difference; damp
them before the distance is taken. F: low_pass.py.
    x0hat = (z_t - b_t eps(z_t, t, c)) / a_t,     z_t = a_t z0 + b_t e
    score = - || F(x0hat) - F(z0) ||_2^2  =  - (b_t / a_t)^2 || F(eps(z_t, t, c) - e) ||_2^2
fixed: filter, radius and floor as given. tuned: of both shapes, seven radii and four floors, the
filter with the highest AUC on the calibration rows, one that passes everything included: ours.
Access: GREY_BOX. NFE: 1. The query is the loss's at the same t.
Differs: latents are the posterior mean, where the code samples them. Square and floor .2 are the
code's, circle and floor 0 the paper's: `filter` and `floor` say which; r is scaled to the latents.
Two papers contradict each other on whether the filter helps latent models (arXiv 2511.20592 says
that it does not): floor=1 is the same distance without it.
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
from mia_bench.target import Batch, Query, Target, grid_residuals


@dataclass(frozen=True)
class FreMIA:
    """Args: `t` timestep; `radius` of the filter, None: by the latents' size; `filter` its shape;
    `floor` what is left of other frequencies; `decision` takes these, or chooses."""

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

    @property
    def nfe(self) -> tuple[int, int]:
        return 1, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return (self.t,)

    @property
    def repeated(self) -> tuple[str, ...]:
        """Energies that are in `rings` in another order."""
        return (PASSED,)

    def check_latents(self, side: int) -> None:
        """Raises MiaError for a filter larger than the latents."""
        check_filter(self.radius, side)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`rings` (B, rings) and `passed` (B, radii, 3): energies of x0hat - z0."""
        view, c = target.view(batch), target.embed(batch.caption)
        (residual,) = grid_residuals(target, view, [Query(self.t, c)])
        return low_pass_features(residual * clean_per_noise(target, self.t), self.radius)

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the filtered distance."""
        return -self._low_pass(calibration)(features)

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """The filter, where one is chosen."""
        return self._low_pass(calibration).described() if self.decision == "tuned" else {}

    def _low_pass(self, calibration: Calibration) -> LowPass:
        return distance_filter(self.filter, self.floor, self.decision, calibration)


def clean_per_noise(target: Target, t: int | Tensor) -> Tensor:
    """b_t / a_t: what an error of eps is worth in x0hat."""
    return target.b[t] / target.a[t]
