"""Loss over the entries of the latent that move the image.

Papers: arXiv 2511.20592 (CVPR 2026), on the loss threshold, arXiv 2302.03262.
    r     = eps(q(z0, t, e), t, c) - e
    score = - sum_i mask_i |r_i|^p          p = 4
mask: masks.py; `mask: random` is the control `loss_randommask`.
Access: GREY_BOX; gradients are those of the decoder, not of the network under attack.
NFE: 1, which is that of loss.
Differs: t = 450 as in loss, where the code takes the best timestep on the rows it is judged on;
p = 4 is the paper's, where loss has squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mia_bench.attacks import Access, Attack, Calibration, Features, Floats, score_field
from mia_bench.attacks.pullback.masks import (
    check_mask,
    mask_version,
    masked_score,
    masked_sums,
    random_control,
)
from mia_bench.target import Batch, Query, Target, grid_residuals


@dataclass(frozen=True)
class LossPullback:
    """Args: `t` timestep; `p` of the powers; `drop` share of entries left out;
    `probes` of the influence; `mask` that counts."""

    t: int = 450
    p: int = 4
    drop: float = 0.4
    probes: int = 8
    mask: Literal["influence", "random"] = score_field("influence")
    access: ClassVar[Access] = Access.GREY_BOX
    statistics: ClassVar[bool] = True
    needs_decoder: ClassVar[bool] = True
    host: ClassVar[str] = "loss"

    def __post_init__(self) -> None:
        check_mask(self.drop, self.probes)
        if self.t < 0 or self.p < 1:
            raise ValueError(f"t={self.t} must be 0 or more and p={self.p} at least 1")

    @property
    def version(self) -> int:
        return mask_version(self.drop)

    @property
    def nfe(self) -> tuple[int, int]:
        return 1, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return (self.t,)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`influence`, `random` (B,): the sum under either mask."""
        view, c = target.view(batch), target.embed(batch.caption)
        (residual,) = grid_residuals(target, view, [Query(self.t, c)])
        return masked_sums(target, batch, residual, self.p, self.drop, self.probes)

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the sum; nothing is fitted."""
        del calibration
        return masked_score(features, self.mask)

    def plain(self) -> tuple[str, Attack, str] | None:
        """The same with as many entries left out at random."""
        return random_control(self)
