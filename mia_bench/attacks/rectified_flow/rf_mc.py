"""Monte-Carlo bias: residual vectors are averaged before their norm is taken.

Papers: "T_mc" of arXiv 2603.13421 for rectified flows, and SimA-MC of Rao, Qu, Moyer, arXiv
2509.25003 v2 for eps models, both [S]: read second hand, see Differs.
Idea: an ordinary loss is squared bias plus variance. The mean of residual vectors over draws of
noise keeps the bias, which training on an image removes.
    r_n   = eps(a_t z0 + b_t e_n, t, c) - e_n,        n = 1..N
    T     = mean_d ( 1/N sum_n r_n )^2
    score = - T      or, with complexity: png,   - T / C,   C bytes of the image as a PNG
On a rectified flow r = (1 - sigma) (v_hat - v), so T is T_mc = || z0 + mean_n v_hat_n ||^2 times a
constant, where the mean of e_n is zero; which it is exactly, because draws come in pairs e, -e.
Access: GREY_BOX. NFE: n_noise (8 by default).
Differs: pairs are ours, the papers draw independently and let the mean vanish in expectation. N is
not known to us: 8 [ASSUME]. T_mc is evaluated at sigma = .5, which is t = 354 of Stable Diffusion's
schedule; its VP form at the same level [ours]; mc_bias.py has other levels. C is that of Pillow's
encoder on 8-bit pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.attacks.components.image_complexity import png_bytes
from mia_bench.attacks.residuals.mean_residual import mean_residuals, require_draws
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class MonteCarloBias:
    """Args: `t` timestep; `n_noise` draws, an even number; `complexity` that divides T."""

    t: int = 354
    n_noise: int = 8
    complexity: Literal["none", "png"] = score_field("none")
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_draws(self.n_noise, antithetic=True)

    @property
    def nfe(self) -> tuple[int, int]:
        return self.n_noise, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return (self.t,)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`bias` (B,): T; `log_bytes` (B,): log C."""
        means = mean_residuals(target, batch, (self.t,), self.n_noise, antithetic=True)
        bias = means.square().flatten(1).mean(1)
        return {"bias": bias, "log_bytes": png_bytes(batch.image).log().to(bias.device)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus T, or minus T / C; nothing is fitted."""
        del calibration
        bias = np.asarray(features["bias"], dtype=np.float64)
        if self.complexity == "none":
            return -bias
        scores: Floats = -bias / np.exp(np.asarray(features["log_bytes"], dtype=np.float64))
        return scores
