"""Monte-Carlo loss: the likelihood term of CLiD alone.

Paper: Zhai et al., "Membership Inference on Text-to-Image Diffusion Models via Conditional
Likelihood Discrepancy", arXiv 2405.14800, table 1 row "Monte-Carlo".
    score = - mean over (t, j) of mean_d ( eps(q(z0, t, e_tj), t, c) - e_tj )^2
Access: GREY_BOX. NFE: len(timesteps) * n_noise (default 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats
from mia_bench.target import Batch, Query, Target, grid_mse


@dataclass(frozen=True)
class MonteCarlo:
    """Args: `timesteps` of the grid; `n_noise` draws at each of them."""

    timesteps: tuple[int, ...] = (440, 450, 460)
    n_noise: int = 1
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.n_noise < 1 or not self.timesteps:
            raise ValueError("at least one timestep and one draw (n_noise) are needed")

    @property
    def nfe(self) -> tuple[int, int]:
        return len(self.timesteps) * self.n_noise, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self.timesteps

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`loss` (B, len(timesteps) * n_noise)."""
        c = target.embed(batch.caption)
        queries = [Query(t, c, draw) for t in self.timesteps for draw in range(self.n_noise)]
        return {"loss": grid_mse(target, target.view(batch), queries)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the mean loss; nothing is fitted."""
        del calibration
        scores: Floats = -np.asarray(features["loss"], dtype=np.float64).mean(axis=1)
        return scores
