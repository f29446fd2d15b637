"""Structural: how much of an image's structure survives the way towards noise.

Paper: "structural MIA", ACM MM 2024, arXiv 2407.13252 [S]: read second hand, see Differs.
Idea: on its own noising path a model keeps the structure of what it was trained on for longer.
    z_t   = DDIM inversion of z0:  0 -> k -> 2k -> ... -> t, condition c
    score = SSIM( x, decode(z_t) )
Access: GREY_BOX (noise predictions, latents and the decoder). NFE: t / k (2 by default).
Differs: t = 100 in two steps of 50 and SSIM are the paper's. Captions are those of the data, where
the paper has BLIP's (data.captions=pseudo:<captioner>). SSIM is torchmetrics' (Wang et al. 2004),
averaged over colours, data range 2 [ASSUME]. The paper's members are LAION's and its non-members
COCO's, which differ without any model: its figures are no expectation for a random split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats
from mia_bench.attacks.components.image_similarity import ssim
from mia_bench.target import Batch, Target
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class Structural:
    """Args: invert up to `t`, a multiple of the stride `k`."""

    t: int = 100
    k: int = 50
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 1 or self.t < self.k or self.t % self.k:
            raise ValueError(f"t={self.t} must be a positive multiple of the stride k={self.k}")

    @property
    def nfe(self) -> tuple[int, int]:
        return self.t // self.k, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        if self.t >= schedule:  # moved to, and not asked at
            raise MiaError(
                f"t={self.t} is where the inversion ends, outside the schedule of {schedule} "
                f"steps. Use a multiple of k={self.k} below {schedule}, or a smaller k."
            )
        return range(0, self.t, self.k)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`ssim` (B,)."""
        z, c = target.view(batch).z0, target.embed(batch.caption)
        for t in range(0, self.t, self.k):
            z = target.denoise(z, t, t + self.k, c)
        return {"ssim": ssim(batch.image.to(z.device), target.decode(z))}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """The similarity; nothing is fitted."""
        del calibration
        return np.asarray(features["ssim"], dtype=np.float64)
