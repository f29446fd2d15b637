"""A target for the tests of DRC: 32 px images, 8 x 8 latents, and an encoder that looks around.

Its encoder smooths before it pools, so a latent cell depends on pixels of its neighbours: what a
mask has to allow for. Loaded by path; the hooks below are named as "drc_fixtures.<function>".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mia_bench.target.diffusion import keyed_noise

IMAGE, CELL = 32, 4


class LookingCodec(nn.Module):
    """(B, 3, H, W) images to (B, 4, H / 4, W / 4) latents; remembers every image it encoded."""

    def __init__(self) -> None:
        super().__init__()
        mix = keyed_noise(0, "drc codec", None, 0, (4, 3))
        self.register_buffer("mix", mix, persistent=False)
        self.register_buffer("unmix", torch.linalg.pinv(mix), persistent=False)
        self.encoded: list[Tensor] = []

    def encode(self, image: Tensor) -> Tensor:
        self.encoded.append(image.clone())
        near = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return torch.einsum("lc,bchw->blhw", self.mix, F.avg_pool2d(near, CELL))

    def decode(self, z0: Tensor) -> Tensor:
        pixels = torch.einsum("cl,blhw->bchw", self.unmix, z0)
        return F.interpolate(pixels, scale_factor=float(CELL), mode="bilinear")


class Answers(nn.Module):
    """A U-Net that returns answer(z_t, t), t shaped to broadcast."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, z: Tensor, t: Tensor, **_: Any) -> tuple[Tensor]:
        return (self.answer(z, t.expand(len(z)).view(-1, 1, 1, 1)),)


def bright_corner(image: Tensor) -> tuple[int, int, int, int] | None:
    """A face finder: an 8 px box at the top left corner of images whose first pixel is white."""
    return (0, 0, 8, 8) if image[0, 0, 0] == 1 else None


def colours(images: Tensor) -> Tensor:
    """A face encoder: the mean colour, and a constant."""
    return F.pad(images.mean((2, 3)), (0, 1), value=0.1)


NOT_CALLABLE = 3
