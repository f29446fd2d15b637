"""How complex an image is, by measures that query no U-Net: the covariates of `-complexity` rows.

Simple images are denoised well by every model, members and non-members alike, so that part of what
an attack's score varies by is the image and not its membership. Per image x with latents z0:
    log_png_bytes             log of the bytes of x as a PNG of 8 bits a channel (arXiv 2603.13421)
    log_gradient_energy       log of the mean squared difference of neighbouring latents   [ours]
    log_reconstruction_error  log mean_d ( decode(z0) - x )^2, where there is an autoencoder [ours]
Nothing of it depends on a fine-tune or on who is a member: the same codec gives the same values.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mia_bench.attacks.base import Access

if TYPE_CHECKING:  # a plan names these measures, and what reads stored runs loads no torch
    from torch import Tensor

    from mia_bench.target import Batch, Target

COVARIATES = ("log_png_bytes", "log_gradient_energy", "log_reconstruction_error")
FLOOR = 1e-12  # squared units; the logarithm of a blank image's energy stays finite


@dataclass(frozen=True)
class ImageComplexity:
    """Extracted as an attack's features are, and scored by none."""

    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = False

    @property
    def nfe(self) -> tuple[int, int]:
        return 0, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        del schedule
        return ()

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """Each covariate (B,); a model in pixel space reconstructs exactly and has two of them."""
        z0 = target.view(batch).z0.float()
        image = batch.image.to(z0.device)
        values = {
            "log_png_bytes": png_bytes(image).log().to(z0.device),
            "log_gradient_energy": (gradient_energy(z0) + FLOOR).log(),
        }
        if not target.in_pixels:
            error = (target.decode(z0) - image).square().flatten(1).mean(1)
            values["log_reconstruction_error"] = (error + FLOOR).log()
        return values


def gradient_energy(z0: Tensor) -> Tensor:
    """(B,) mean squared steps to the neighbours below plus those to the right, of (B, C, h, w)."""
    below, right = z0.diff(dim=-2), z0.diff(dim=-1)
    return below.square().flatten(1).mean(1) + right.square().flatten(1).mean(1)


def png_bytes(image: Tensor) -> Tensor:
    """(B,) bytes of each image (3, H, W) in [-1, 1] as a lossless file of 8 bits a channel."""
    import torch
    from PIL import Image

    pixels = ((image.detach().cpu().float() + 1) * 127.5).round().clamp(0, 255).byte()
    sizes = []
    for picture in pixels.permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        sizes.append(file.tell())
    return torch.tensor(sizes, dtype=torch.float32)
