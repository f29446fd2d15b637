"""CLiD+F: CLiD's losses at low frequencies.

Paper: "FreMIA", ICML 2026, arXiv 2505.20955, on CLiD (arXiv 2405.14800); code poetic2/FreMIA.
    l(c)  = mean_j mean_d ( F(x0hat_j(c)) - F(z0) )^2
          = mean_j (b_j / a_j)^2 mean_d F( eps(q(z0, t_j, e_j), t_j, c) - e_j )^2
    D_i   = l(c*_i) - l(c),  L = -l(c),  score = alpha S(mean_i D_i) + (1 - alpha) S(L)
S, c*_i and the order of conditions: clid.py. F: low_pass.py. tuned chooses the filter as fremia.py.
Access: GREY_BOX. NFE: len(timesteps) * (K + 1), all of them CLiD's own (15).
Differs: as fremia.py. The released code has t = 485, 495, 505; here those of `clid`, whose queries
serve both. alpha = .4 is the code's; null chooses it on calibration rows. S is CLiD's, median and
quartiles [ASSUME: the code's scaling of CLiD+F was not read].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.attacks.clid import CLiD, Scaling, fit_scaling, terms_of
from mia_bench.attacks.frequency.fremia import clean_per_noise
from mia_bench.attacks.frequency.low_pass import (
    PASSED,
    LowPass,
    check_filter,
    check_options,
    chosen_filter,
    low_pass_features,
)
from mia_bench.target import Batch, Target, grid_residuals


@dataclass(frozen=True)
class CLiDF:
    """Args: `timesteps` and `reduction` as in CLiD, without its options of clipped words; `alpha`
    fixed, or None to choose it; the others as in FreMIA."""

    timesteps: tuple[int, ...] = (440, 450, 460)
    reduction: Literal["thirds", "characters", "none"] = "thirds"
    radius: int | None = None
    filter: Literal["square", "circle"] = score_field("square")
    floor: float = score_field(0.2)
    decision: Literal["fixed", "tuned"] = score_field("fixed")
    alpha: float | None = score_field(0.4)
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_options(self.radius, self.floor)
        self._plain()  # what it refuses

    def _plain(self) -> CLiD:
        return CLiD(self.timesteps, self.reduction, alpha=self.alpha)

    @property
    def nfe(self) -> tuple[int, int]:
        return self._plain().nfe

    @property
    def needs_captions(self) -> bool:
        """As CLiD."""
        return True

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self.timesteps

    @property
    def repeated(self) -> tuple[str, ...]:
        """Energies that are in `rings` in another order."""
        return (PASSED,)

    def check_latents(self, side: int) -> None:
        """Raises MiaError for a filter larger than the latents."""
        check_filter(self.radius, side)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`rings` (B, K + 1, rings) and `passed` (B, K + 1, radii, 3): mean energies per element of
        x0hat - z0 over the timesteps, of every condition."""
        view, queries = target.view(batch), self._plain().queries(target, batch)
        residuals = grid_residuals(target, view, queries)
        times = torch.tensor([q.t for q in queries], device=residuals.device)
        error = clean_per_noise(target, times).view(-1, *[1] * (residuals.ndim - 1)) * residuals
        energies = low_pass_features(error / error[0, 0].numel() ** 0.5, self.radius)
        return {name: self._by_condition(energy) for name, energy in energies.items()}

    def _by_condition(self, energy: Tensor) -> Tensor:
        """Queries (Q, B, ...) to (B, K + 1, ...), the mean over timesteps."""
        conditions = len(energy) // len(self.timesteps)
        spread = energy.reshape(conditions, len(self.timesteps), *energy.shape[1:])
        return spread.mean(1).transpose(0, 1)

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """CLiD's threshold score on filtered losses."""
        low_pass = self._low_pass(calibration)
        return self._scaling(calibration, low_pass)(terms_of(low_pass(features)))

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """alpha, and the filter where one is chosen."""
        low_pass = self._low_pass(calibration)
        described = low_pass.described() if self.decision == "tuned" else {}
        return {"alpha": self._scaling(calibration, low_pass).alpha} | described

    def _scaling(self, calibration: Calibration, low_pass: LowPass) -> Scaling:
        terms = terms_of(low_pass(calibration.features))
        return fit_scaling(terms, calibration.is_member, self.alpha)

    def _low_pass(self, calibration: Calibration) -> LowPass:
        if self.decision == "fixed":
            return LowPass(self.filter, self.floor)
        return chosen_filter(partial(self._calibration_scores, calibration), calibration)

    def _calibration_scores(self, calibration: Calibration, low_pass: LowPass) -> Floats:
        terms = terms_of(low_pass(calibration.features))
        return fit_scaling(terms, calibration.is_member, self.alpha)(terms)
