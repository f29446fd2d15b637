"""From any picture to RGB pixels in [-1, 1] at a model's resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor


# Resizing the shorter side of a thin strip to 512 px makes the longer one huge: bound it.
MAX_ASPECT = 100
# A side of one pixel has no neighbours: counting pixels of web pages, which show nothing.
MIN_SIDE = 2


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB version of `image`; transparent parts become white, not the colour hidden behind them.

    Raises ValueError for less than MIN_SIDE a side, or more than MAX_ASPECT times longer than wide.
    """
    require_usable_size(image.size)
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


def require_usable_size(size: tuple[int, int]) -> None:
    """Raises ValueError for what cannot be cropped to a square with something in it."""
    if max(size) > MAX_ASPECT * min(size):
        raise ValueError(f"{size[0]}x{size[1]} px is too elongated to crop to a square")
    if min(size) < MIN_SIDE:
        raise ValueError(f"{size[0]}x{size[1]} px is no picture (at least {MIN_SIDE} px a side)")


def pixels(image: Image.Image, resolution: int) -> Tensor:
    """What a model sees of `image`: float32 (3, resolution, resolution) in [-1, 1].

    The pre-processing that all released Stable Diffusion attacks share: RGB, shorter side to
    `resolution` (bilinear, antialiased), centre crop, no flip.
    """
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as TF

    resized = TF.resize(to_rgb(image), [resolution], InterpolationMode.BILINEAR, antialias=True)
    square: Tensor = TF.pil_to_tensor(TF.center_crop(resized, [resolution, resolution]))
    return square.to(torch.float32) / 127.5 - 1
