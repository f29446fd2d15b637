"""Degradations y = A x that DRC (arXiv 2403.08487) restores from, each with a right-inverse A^+.

    A A^+ y = y   on the range of A;   project(A, y, x) = A^+ y + (I - A^+ A) x
so a projection keeps what `y` fixes and leaves the null space of A to the model (DDNM, Wang et al.,
arXiv 2212.00490, eq. 13). `Keep` acts on latents or pixels, `AveragePool` and `Gray` on pixels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mia_bench.utils.errors import MiaError

FACE_DROP_SHARE = 0.05  # of the height: so far below the centre aligned CelebA and FFHQ faces lie


@dataclass(frozen=True)
class Task:
    """`inpaint:<share of the image hidden>`, `sr:<factor>` or `gray`."""

    kind: str
    value: float

    @classmethod
    def of(cls, text: str) -> Task:
        """Raises ValueError for any other text, and for a share of 0 or 1."""
        kind, _, number = text.partition(":")
        try:
            value = float(number or 0)
        except ValueError:
            value = math.nan
        fits = {
            "inpaint": 0 < value < 1,
            "sr": value >= 2 and value.is_integer(),
            "gray": not number,
        }
        if not fits.get(kind, False):
            raise ValueError(
                f"task {text!r}: use inpaint:<ratio between 0 and 1>, sr:<whole factor> or gray"
            )
        return cls(kind, value)


class Degradation(Protocol):
    def apply(self, x: Tensor) -> Tensor: ...
    def pinv(self, y: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Keep:
    """In-painting. `keep` is boolean and broadcasts against x; entries of y outside it are 0.

    Values outside `keep` are selected away, never multiplied: not even NaN gets through.
    """

    keep: Tensor

    def apply(self, x: Tensor) -> Tensor:
        return torch.where(self.keep, x, torch.zeros_like(x))

    def pinv(self, y: Tensor) -> Tensor:
        return self.apply(y)


@dataclass(frozen=True)
class AveragePool:
    """Super-resolution: A averages `factor` x `factor` blocks, A^+ repeats each average."""

    factor: int

    def apply(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor)

    def pinv(self, y: Tensor) -> Tensor:
        return y.repeat_interleave(self.factor, -1).repeat_interleave(self.factor, -2)


@dataclass(frozen=True)
class Gray:
    """Colouring: A is the mean of the colour channels, A^+ gives every channel that mean."""

    channels: int = 3

    def apply(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)

    def pinv(self, y: Tensor) -> Tensor:
        return y.repeat_interleave(self.channels, 1)


def project(A: Degradation, y: Tensor, x: Tensor) -> Tensor:
    """A^+ y + (I - A^+ A) x: the point nearest to x, among those with A x = y."""
    return A.pinv(y) + (x - A.pinv(A.apply(x)))


@dataclass(frozen=True)
class Box:
    """A square of pixels: rows top .. top + side - 1, columns left .. left + side - 1."""

    top: int
    left: int
    side: int

    def enlarged(self, factor: float, least: int, height: int, width: int) -> Box:
        """`factor` times as wide, at least `least`, around the same centre, moved inside."""
        side = min(max(math.ceil(self.side * factor), least), height, width)
        middle = (self.top + self.side / 2, self.left + self.side / 2)
        return around(*middle, side, height, width)


def around(row: float, column: float, side: int, height: int, width: int) -> Box:
    """The square of `side` centred on (row, column), moved inside the image where it sticks out."""
    top = min(max(math.floor(row - side / 2), 0), height - side)
    left = min(max(math.floor(column - side / 2), 0), width - side)
    return Box(top, left, side)


def side_of(ratio: float, height: int, width: int) -> int:
    """Side in pixels of a square that covers `ratio` of the image.

    Raises:
        MiaError: the square would hide nothing, or leave no row or column around it.
    """
    side = round(math.sqrt(ratio * height * width))
    if not 1 <= side < min(height, width):
        raise MiaError(
            f"a mask ratio of {ratio:g} is a square of {side} px in {height} x {width}: "
            "it must hide something and leave a border. Use 0.1 to 0.5."
        )
    return side


def require_blocks(task: Task, height: int, width: int) -> None:
    """Raises MiaError unless blocks of the task's factor cover the image exactly."""
    if height % task.value or width % task.value:
        raise MiaError(f"task sr:{task.value:g} does not divide {height} x {width} images.")


def random_box(seed: int, sample_id: str, k: int, side: int, height: int, width: int) -> Box:
    """The k-th random position of a sample, uniform; keyed by (seed, sample id, k) alone."""
    key = hashlib.blake2b(f"mask|{seed}|{sample_id}|{k}".encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
    top, left = generator.integers([height - side + 1, width - side + 1]).tolist()
    return Box(top, left, side)


def face_centres(
    images: Tensor, find: Callable[[Tensor], Any] | None
) -> tuple[list[tuple[float, float]], Tensor]:
    """Centres (row, column) of faces in (B, 3, H, W), and (B,) 1.0 where `find` gave a box.

    `find` maps an image (3, H, W) to (left, top, width, height) in pixels, or None. Where there is
    none, the centre is where aligned faces have it.
    """
    height, width = images.shape[-2:]
    centres, has_box = [], torch.zeros(len(images))
    for row, image in enumerate(images):
        box = find(image) if find else None
        if box is None:
            centres.append((height * (0.5 + FACE_DROP_SHARE), width / 2))
        else:
            left, top, w, h = (float(number) for number in box)
            centres.append((top + h / 2, left + w / 2))
            has_box[row] = 1
    return centres, has_box


def kept_pixels(boxes: Sequence[Box], height: int, width: int) -> Tensor:
    """(B, 1, H, W) boolean: False inside the row's box."""
    keep = torch.ones(len(boxes), 1, height, width, dtype=torch.bool)
    for row, box in enumerate(boxes):
        keep[row, :, box.top : box.top + box.side, box.left : box.left + box.side] = False
    return keep


def kept_cells(keep: Tensor, latent_size: tuple[int, int]) -> Tensor:
    """(B, 1, h, w) boolean: latent cells without a hidden pixel, in themselves or a neighbour.

    A neighbour's, because an autoencoder looks beyond the edges of a cell.

    Args:
        keep: (B, 1, H, W) as `kept_pixels` gives it; a cell is (H / h) x (W / w) pixels.

    Raises:
        MiaError: no cell is left, or the image is not a whole number of cells.
    """
    height, width = keep.shape[-2:]
    h, w = latent_size
    if height % h or width % w:
        raise MiaError(f"{height} x {width} px images do not divide into {h} x {w} latent cells.")
    touched = F.max_pool2d((~keep).float(), (height // h, width // w))
    hidden = F.max_pool2d(touched, kernel_size=3, stride=1, padding=1) > 0
    if hidden.flatten(1).all(1).any():
        raise MiaError(
            f"the mask leaves no known cell of the {h} x {w} latents: use a smaller mask ratio."
        )
    return ~hidden


def most(saliency: Tensor, ratio: float) -> Tensor:
    """(B, 1, H, W) boolean: False on the share `ratio` of each row's pixels with the most saliency.

    Args:
        saliency: (B, 1, H, W), of pixels that are equally salient the first ones are taken.
    """
    flat = saliency.flatten(1)
    count = max(1, min(round(ratio * flat.shape[1]), flat.shape[1] - 1))
    places = flat.argsort(dim=1, descending=True, stable=True)[:, :count]
    keep = torch.ones_like(flat, dtype=torch.bool).scatter(1, places, False)
    return keep.view_as(saliency)


def fill(image: Tensor, keep: Tensor) -> Tensor:
    """x^D: the hole filled with the mean colour of the pixels that touch it, (B, C, H, W)."""
    near = F.max_pool2d((~keep).float(), kernel_size=3, stride=1, padding=1) > 0
    border = near & keep
    total = torch.where(border, image, torch.zeros_like(image)).sum((2, 3), keepdim=True)
    colour = total / border.sum((2, 3), keepdim=True)
    return torch.where(keep, image, colour.expand_as(image))
