"""Monte-Carlo bias of eps models: residual vectors are averaged before their norm is taken.

Papers: SimA-MC of Rao, Qu, Moyer, arXiv 2509.25003 v2, and "T_mc" of arXiv 2603.13421, whose form
on rectified flows is rf_mc.py; both [S]: read second hand, see Differs.
Idea: an ordinary loss is squared bias plus variance over the noise. The mean of residual vectors
keeps the bias, which training on an image removes, and 1/N of the variance.
    r_tn  = eps(a_t z0 + b_t e_n, t, c) - e_n,        n = 1..N
    score = - mean_t mean_d | 1/N sum_n r_tn |^p
antithetic: draws come in pairs e, -e, so that the mean of e_n is zero exactly [ours].
Access: GREY_BOX. NFE: len(timesteps) * n_noise. mc_bias (10) takes the ten predictions with which
ReDiffuse begins, at SimA's t; mc15_bias (15) those of mc15: beside that attack it costs nothing.
With antithetic=true as many, of which the half at -e are its own.
Differs: the papers average predictions, whose noise target vanishes in expectation; eps - e has the
same mean and less variance. N and t of SimA-MC are not known to us: those of the attacks named
[ASSUME]. p = 2 is T_mc's, p = 4 SimA's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats
from mia_bench.attacks.residuals.mean_residual import mean_residuals, require_draws
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class ResidualBias:
    """Args: `timesteps`; `n_noise` draws at each; `p` of the norm; `antithetic` pairs."""

    timesteps: tuple[int, ...] = (100,)
    n_noise: int = 10
    p: int = 2
    antithetic: bool = False
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.timesteps or self.p < 1:
            raise ValueError(
                f"timesteps={list(self.timesteps)}, p={self.p}: at least one timestep and p of at "
                "least 1 are needed"
            )
        require_draws(self.n_noise, self.antithetic)

    @property
    def nfe(self) -> tuple[int, int]:
        return len(self.timesteps) * self.n_noise, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self.timesteps

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`bias` (B, timesteps): mean_d | mean_n r_tn |^p."""
        means = mean_residuals(target, batch, self.timesteps, self.n_noise, self.antithetic)
        return {"bias": means.abs().pow(self.p).flatten(2).mean(2)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the mean bias; nothing is fitted."""
        del calibration
        scores: Floats = -np.asarray(features["bias"], dtype=np.float64).mean(axis=1)
        return scores
