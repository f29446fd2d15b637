"""ReDiffuse: average many re-drawings of an image and see whether it comes back.

Paper: Li et al., "Towards Black-Box Membership Inference Attack for Diffusion Models", ICML 2025,
arXiv 2405.20771.
Idea: noised a little and denoised, a member returns to itself up to zero-mean error, which the mean
over n repeats removes.
    zhat  = 1/n sum_i DDIM( a_t z0 + b_t e_i ;  t -> t-k -> ... -> 0, condition c )
    score = SSIM(decode(z0), decode(zhat)) on grey images     or     - || zhat - z0 ||_2
Decoding both sides keeps the autoencoder's own error out of the comparison.
Access: GREY_BOX (noise predictions and latents). NFE: n * t / k (20 by default).
Differs: the paper asks an image-variation service; here the same variation is computed by querying
the U-Net, so this row is not black-box. t = 100, k = t/2, n = 10 for every model; the released
Stable Diffusion script has t = k = 50, n = 1, guidance 7.5 and latents mapped as if they were
pixels. SSIM is torchmetrics' (Wang et al. 2004: Gaussian window, here with data range 2), where the
script uses a uniform window and the range of one image. `ssim` is the default because the paper
judges Stable Diffusion by it; `latent_l2` is ours, and both are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.target import Batch, Condition, Query, Target, View

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, PIL's mode "L"


@dataclass(frozen=True)
class ReDiffuse:
    """Args: noise up to `t`, denoise with stride `k`, average `n` repeats; `measure` compares."""

    t: int = 100
    k: int = 50
    n: int = 10
    measure: Literal["ssim", "latent_l2"] = score_field("ssim")
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 1 or self.t < self.k or self.t % self.k:
            raise ValueError(f"t={self.t} must be a positive multiple of the stride k={self.k}")
        if self.n < 1:
            raise ValueError(f"n={self.n}: at least one repeat is needed")

    @property
    def nfe(self) -> tuple[int, int]:
        return self.n * (self.t // self.k), 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return range(self.k, self.t + 1, self.k)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`ssim` (B,) similarity and `latent_l2` (B,) distance."""
        view, c = target.view(batch), target.embed(batch.caption)
        zhat = self._variations(target, view, c).mean(dim=0)
        similarity = structural_similarity_index_measure(
            grey(target.decode(zhat)),
            grey(target.decode(view.z0)),
            data_range=2.0,
            reduction="none",
        )
        assert isinstance(similarity, Tensor)
        return {"ssim": similarity, "latent_l2": (zhat - view.z0).flatten(1).norm(dim=1)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Similarity, or minus the distance; nothing is fitted."""
        del calibration
        values: Floats = np.asarray(features[self.measure], dtype=np.float64)
        return values if self.measure == "ssim" else -values

    def _variations(self, target: Target, view: View, c: Condition) -> Tensor:
        """(n, B, *latent) at step 0; the first prediction of each is a grid query."""
        t, s, n = self.t, self.t - self.k, range(self.n)
        z_t = [target.add_noise(view.z0, target.noise(view.sample_id, t, i), t) for i in n]
        eps = target.predict_grid(view, [Query(t, c, draw=i) for i in n])
        moved = [target.move(z_t[i], eps[i], t, s) for i in n]
        return torch.stack([self._down(target, z, c) for z in moved])

    def _down(self, target: Target, z: Tensor, c: Condition) -> Tensor:
        for t in range(self.t - self.k, 0, -self.k):
            z = target.denoise(z, t, t - self.k, c)
        return z


def grey(image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W)."""
    weight = torch.tensor(LUMA, device=image.device).view(1, 3, 1, 1)
    return (image.float() * weight).sum(dim=1, keepdim=True)
