"""SimA: one query, no noise.

Paper: Rao, Qu, Moyer, "Score-based Membership Inference on Diffusion Models", arXiv 2509.25003.
Idea: eps(z, t) follows the distance of z to the data the model was fitted on, so the prediction at
the clean latent itself is small for members.
    score = - || eps(z0, t, c) ||_p^p          p = 4; z0 is fed at t unscaled, nothing is added
Access: GREY_BOX. NFE: 1.
Differs: t is one fixed number (100), where the released code reports the best of twenty timesteps
on the rows it is evaluated on. The latent is the posterior mean, where the code samples it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class SimA:
    """Args: `t` timestep of the query; `p` of the norm."""

    t: int = 100
    p: int = 4
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.t < 0 or self.p < 1:
            raise ValueError(f"t={self.t} must be 0 or more and p={self.p} at least 1")

    @property
    def nfe(self) -> tuple[int, int]:
        return 1, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return (self.t,)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`norm` (B,): ||eps(z0, t, c)||_p^p. Raises ValueError for t outside the schedule."""
        eps = clean_prediction(target, batch, self.t)
        return {"norm": eps.abs().pow(self.p).flatten(1).sum(1)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the norm; nothing is fitted."""
        del calibration
        scores: Floats = -np.asarray(features["norm"], dtype=np.float64)
        return scores


def clean_prediction(target: Target, batch: Batch, t: int) -> Tensor:
    """eps(z0, t, c) (B, *latent); attacks on one batch share it."""
    view, c = target.view(batch), target.embed(batch.caption)

    def predict() -> Tensor:
        return target.predict_noise(view.z0, t, c).float()

    return target.remember(f"prediction at the clean latent, t={t}", view, c, predict)
