"""Loss curve over the path between noise and data, and a classifier on its shape.

Paper: Sesmat et al., ICML 2026, arXiv 2606.07271 [S: read second hand].
Idea: on a rectified flow members and non-members differ most at one place of the path, sigma .3 to
.4, and hardly at its ends; the shape of the loss along the path tells more than any one level.
    L(sigma) = mean_k mean_d ( z0_hat - z0 )^2,   z0_hat = z_sigma - sigma v_hat(z_sigma, sigma, c)
             = (b / a)^2 mean_k mean_d ( eps_hat - e_k )^2
    score    = P(member | log L at 11 levels) by a small network, fitted on calibration rows
Access: GREY_BOX. NFE: levels * n_noise (44 by default).
Differs: the paper draws K = 100 noises at sigma = 0, .1, ..., 1; here 4, at the timesteps of Stable
Diffusion's schedule that are nearest to those levels: its ends are sigma = .03 and .94, where eps
and data can still be told apart. Where sigma is told by timesteps the attack works on U-Nets too
[ours]. The paper's network is not described to us: one hidden layer of 32 [ASSUME]; the logarithm
and standardisation are ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.target import Batch, Query, Target, grid_mse

MIN_ROWS_PER_CLASS = 4
SIGMAS = tuple(round(0.1 * i, 1) for i in range(11))
TIMESTEPS = (0, 13, 60, 138, 239, 354, 477, 606, 744, 914, 999)
"""Nearest to SIGMAS on Stable Diffusion's schedule."""


@dataclass(frozen=True)
class LossCurve:
    """Args: `timesteps` of the levels; `n_noise` draws at each; `hidden` units, `steps` of Adam."""

    timesteps: tuple[int, ...] = TIMESTEPS
    n_noise: int = 4
    hidden: int = score_field(32)
    steps: int = score_field(500)
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.n_noise < 1 or len(self.timesteps) < 2:
            raise ValueError("at least two timesteps and one draw (n_noise) are needed")
        if self.hidden < 1 or self.steps < 1:
            raise ValueError("hidden and steps must be positive")

    @property
    def nfe(self) -> tuple[int, int]:
        return len(self.timesteps) * self.n_noise, 0

    @property
    def least_rows(self) -> int:
        return MIN_ROWS_PER_CLASS

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self.timesteps

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`log_loss` (B, levels): log L."""
        c = target.embed(batch.caption)
        queries = [Query(t, c, draw) for t in self.timesteps for draw in range(self.n_noise)]
        errors = grid_mse(target, target.view(batch), queries)
        by_level = errors.view(len(batch), len(self.timesteps), self.n_noise).mean(2)
        t = torch.tensor(self.timesteps, device=by_level.device)
        ratio = (target.b[t] / target.a[t]).square()
        return {"log_loss": (ratio * by_level).log()}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """P(member) of the network fitted on calibration rows.

        Raises:
            MiaError: too few calibration rows of a class.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        calibration.require(MIN_ROWS_PER_CLASS)
        network = MLPClassifier(
            (self.hidden,),
            alpha=1e-2,
            max_iter=self.steps,
            n_iter_no_change=self.steps,
            random_state=calibration.seed,
        )
        model = make_pipeline(StandardScaler(), network)
        curves = np.asarray(calibration.features["log_loss"], dtype=np.float64)
        with warnings.catch_warnings():  # a fixed number of steps is what is asked for
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(curves, calibration.is_member)
        rows = np.asarray(features["log_loss"], dtype=np.float64)
        return np.asarray(model.predict_proba(rows)[:, 1], dtype=np.float64)
