"""PIA and PIAN: proximal initialisation.

Paper: Kong et al., "An Efficient Membership Inference Attack for the Diffusion Model by Proximal
Initialization", ICLR 2024, arXiv 2305.18355.
Idea: the prediction at the clean latent serves as the noise; for a member the model finds it again.
    e0    = eps(z0, 0, c)
    R     = || e0 - eps(a_t z0 + b_t e0, t, c) ||_p
    score = - R
    PIAN: e0 <- e0 sqrt(2/pi) / mean_d |e0|, so that its mean magnitude is a unit Gaussian's
Access: GREY_BOX. NFE: 2.
Differs: PIAN's constant is that of the authors' code; the paper's eq. (10) has sqrt(pi/2), which
is not the mean magnitude of a unit Gaussian. R is the norm, where the code sums p-th powers: the
same order. From the Stable Diffusion script nothing else is taken: it rescales the latents, guides
with 7.5 and rebuilds another schedule than the model's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class PIA:
    """Args: `t` of the second query; `p` of the norm; `normalise` gives PIAN."""

    t: int = 500
    p: int = 4
    normalise: bool = False
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.t < 0 or self.p < 1:
            raise ValueError(f"t={self.t} must be 0 or more and p={self.p} at least 1")

    @property
    def nfe(self) -> tuple[int, int]:
        return 2, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return (0, self.t)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`distance` (B,): R."""
        e0, e_t = proximal_pair(target, batch, self.t, self.normalise)
        difference = (e0 - e_t).flatten(1)
        return {"distance": torch.linalg.vector_norm(difference, ord=self.p, dim=1)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the distance; nothing is fitted."""
        del calibration
        scores: Floats = -np.asarray(features["distance"], dtype=np.float64)
        return scores


def proximal_pair(target: Target, batch: Batch, t: int, normalise: bool) -> tuple[Tensor, Tensor]:
    """e0 and eps(a_t z0 + b_t e0, t, c), each (B, *latent); attacks on one batch share them."""
    view, c = target.view(batch), target.embed(batch.caption)

    def first() -> Tensor:
        return target.predict_noise(view.z0, 0, c).float()

    e0 = target.remember("prediction at the clean latent, t=0", view, c, first)
    if normalise:
        e0 = normalised(e0)

    def second() -> Tensor:
        return target.predict_noise(target.add_noise(view.z0, e0, t), t, c).float()

    return e0, target.remember(f"proximal t={t} normalise={normalise}", view, c, second)


def normalised(e: Tensor) -> Tensor:
    """Each row of (B, *latent) scaled to a mean magnitude of sqrt(2/pi); a row of zeros stays."""
    magnitude = e.abs().flatten(1).mean(1).clamp_min(torch.finfo(e.dtype).tiny)
    scale = math.sqrt(2 / math.pi) / magnitude
    return e * scale.view(-1, *[1] * (e.ndim - 1))
