"""Image augmentation: another view of every image at every step.

Latents of clean images are cached; an augmented fine-tune must not train on them. It encodes a
fresh view every step, or draws from a bank of `bank` views per image that are encoded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mia_bench.mitigations import TrainingContext
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from numpy.random import Generator
    from PIL import Image


GREY = (128, 128, 128)


@dataclass(frozen=True)
class Augment:
    """Random views of an image, each operation with its strength; 0 or null leaves it out.

    Args:
        crop: least share of the shorter side that a random square window keeps, which is then
            enlarged. 1.0 is the window of diffusers' training script without --center_crop: it
            moves along the longer side, so that a square image stays as it is.
        flip: probability of a horizontal flip.
        colour: brightness, contrast and saturation by factors within 1 +- colour, hue by a fifth
            of it in turns.
        cutout: side of a grey square with a random centre, as a share of the image's (DeVries &
            Taylor 2017).
        randaugment: magnitude 1 to 30 of two random operations (Cubuk et al. 2020).
        bank: encode that many views per image once and draw from them; null encodes every step.
    """

    crop: float | None = None
    flip: float = 0.0
    colour: float = 0.0
    cutout: float = 0.0
    randaugment: int = 0
    bank: int | None = None

    def __post_init__(self) -> None:
        if self.crop is not None and not 0.1 <= self.crop <= 1:
            raise ValueError("crop is a share of the side between 0.1 and 1, or null")
        if not (0 <= self.flip <= 1 and 0 <= self.colour <= 1 and 0 <= self.cutout < 1):
            raise ValueError("flip, colour and cutout lie between 0 and 1")
        if not 0 <= self.randaugment <= 30:
            raise ValueError("randaugment is a magnitude between 0 and 30")
        if self.bank is not None and self.bank < 2:
            raise ValueError("a bank of one view shows the same image at every step: 2 or more")
        if self.crop is None and not any((self.flip, self.colour, self.cutout, self.randaugment)):
            raise ValueError("every operation is off: use mitigation=none")

    @property
    def margin(self) -> float:
        return 1.0 if self.crop is None else 1 / self.crop

    def check(self, context: TrainingContext) -> None:
        if context.recipe.cache_latents and self.bank is None:
            raise MiaError(
                "finetune.cache_latents=true trains on the latents of clean images, so that an "
                "augmentation would do nothing: leave it null, or store several views of each "
                "image with mitigation.<name>.bank=8."
            )

    def transform(self, image: Image.Image, draw: Generator) -> Image.Image:
        from torchvision.transforms import functional as TF

        if self.crop is not None:
            image = _window(image, self.crop, draw)
        if draw.random() < self.flip:
            image = TF.hflip(image)
        if self.colour:
            image = _colour(image, self.colour, draw)
        if self.randaugment:
            image = _randaugment(image, self.randaugment, draw)
        return _cutout(image, self.cutout, draw) if self.cutout else image


def _window(image: Image.Image, least: float, draw: Generator) -> Image.Image:
    side = max(1, round(min(image.size) * draw.uniform(least, 1.0)))
    left = int(draw.integers(image.width - side + 1))
    top = int(draw.integers(image.height - side + 1))
    return image.crop((left, top, left + side, top + side))


def _colour(image: Image.Image, strength: float, draw: Generator) -> Image.Image:
    from torchvision.transforms import functional as TF

    for change in (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation):
        image = change(image, draw.uniform(1 - strength, 1 + strength))
    turned: Image.Image = TF.adjust_hue(image, draw.uniform(-strength / 5, strength / 5))
    return turned


def _randaugment(image: Image.Image, magnitude: int, draw: Generator) -> Image.Image:
    """torchvision draws from torch's global generator: seed it here, and put it back."""
    import torch
    from torchvision.transforms import RandAugment

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(draw.integers(2**32)))
        varied: Image.Image = RandAugment(2, magnitude, fill=list(GREY))(image)
    return varied


def _cutout(image: Image.Image, share: float, draw: Generator) -> Image.Image:
    side = np.array([image.width, image.height]) * share
    left, top = (draw.random(2) * image.size - side / 2).round().astype(int).tolist()
    cut = image.copy()
    right, bottom = round(left + side[0]), round(top + side[1])
    cut.paste(GREY, (max(0, left), max(0, top), right, bottom))
    return cut
