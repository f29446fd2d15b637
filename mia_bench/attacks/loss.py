"""Loss threshold: the naive baseline.

Paper: Matsumoto, Miura, Yanai, "Membership Inference Attacks against Diffusion Models",
arXiv 2302.03262; t = 450 as in CLiD's comparison (arXiv 2405.14800, released code).
Idea: members were trained on, so the model denoises them better.
    score = - mean_j mean_d ( eps(q(z0, t, e_j), t, c) - e_j )^2          j = 1..n_noise
Access: GREY_BOX. NFE: n_noise (1, and 5 in loss5, as CDI averages its losses).
Differs: noise is drawn per image, not once per batch.
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
class Loss:
    """Args: `t` timestep; `n_noise` draws averaged."""

    t: int = 450
    n_noise: int = 1
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.n_noise < 1:
            raise ValueError(f"n_noise={self.n_noise}: at least one draw is needed")

    @property
    def nfe(self) -> tuple[int, int]:
        return self.n_noise, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return (self.t,)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`loss` (B, n_noise)."""
        c = target.embed(batch.caption)
        queries = [Query(self.t, c, draw) for draw in range(self.n_noise)]
        return {"loss": grid_mse(target, target.view(batch), queries)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the mean loss; nothing is fitted."""
        del calibration
        scores: Floats = -np.asarray(features["loss"], dtype=np.float64).mean(axis=1)
        return scores
