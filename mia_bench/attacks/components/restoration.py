"""Restoring a degraded image with a diffusion model, by null-space projection (DDNM-style).

Paper: Wang, Yu, Zhang, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model",
arXiv 2212.00490. From t_S down to t_1, and then to the clean image:
    x0hat = (z_t - b_t eps(z_t, t, c)) / a_t
    x0hat = A^+ y + (I - A^+ A) x0hat
    z_u   = a_u x0hat + b_u ( sqrt(1 - eta^2) eps + eta n )
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mia_bench.attacks.components.degradations import (
    Box,
    Degradation,
    Keep,
    fill,
    kept_cells,
    kept_pixels,
    project,
)
from mia_bench.target import Batch, Condition, Target
from mia_bench.target.diffusion import clean_estimate
from mia_bench.utils.errors import MiaError

CROP_TO_HOLE_RATIO = 1.2  # the compared square is this many times as wide as the hole
MIN_CROP_PIXELS = 16  # pixels; structural similarity looks at windows of 11


@dataclass(frozen=True)
class Damage:
    """A batch degraded in one way, with what restoring it and judging the result need."""

    degraded: Tensor  # (B, 3, H, W)
    begin: Tensor  # (B, *latent) of `degraded`
    project: Callable[[Tensor], Tensor]  # latents -> the nearest ones with the pixels that are kept
    boxes: Sequence[Box]  # the compared squares
    keep: Tensor | None = None  # (B, 1, H, W), False where pixels were hidden; None: all changed


def cut_holes(target: Target, batch: Batch, boxes: Sequence[Box], view: str | None) -> Damage:
    """Hide a square per row, and compare a square 1.2 times as wide; see `hide`."""
    height, width = batch.image.shape[-2:]
    compared = [box.enlarged(CROP_TO_HOLE_RATIO, MIN_CROP_PIXELS, height, width) for box in boxes]
    return hide(target, batch, kept_pixels(boxes, height, width), compared, view)


def hide(
    target: Target, batch: Batch, keep: Tensor, compared: Sequence[Box], view: str | None
) -> Damage:
    """Hide the pixels outside `keep` (B, 1, H, W); the latent cells away from them are kept.

    They are encoded from the image with its hole filled by the colour around it. `view` names these
    images for the latent cache; None keeps them out of it.
    """
    keep = keep.to(target.device)
    degraded = fill(batch.image.to(target.device), keep)
    z = target.view(batch, view, lambda _: degraded).z0 if view else target.encode(degraded)
    h, w = z.shape[-2:]
    A = Keep(keep if target.in_pixels else kept_cells(keep, (h, w)))
    y = A.apply(z)
    return Damage(degraded, z, lambda x: project(A, y, x), compared, keep)


def damage_pixels(target: Target, batch: Batch, A: Degradation) -> Damage:
    """Degrade whole images; a projection goes through the decoder and the encoder."""
    image = batch.image.to(target.device)
    y = A.apply(image)
    degraded = A.pinv(y)

    def through_pixels(z: Tensor) -> Tensor:
        return target.encode(project(A, y, target.decode(z)))

    everything = [Box(0, 0, min(image.shape[-2:]))] * len(batch)
    return Damage(degraded, target.encode(degraded), through_pixels, everything)


def restoration_path(timesteps: int, steps: int, start: float) -> list[int]:
    """`steps` evenly spaced timesteps from start * (timesteps - 1) down to 0.

    Raises:
        MiaError: there are fewer timesteps than steps.
    """
    top = round(start * (timesteps - 1))
    if steps > top + 1:
        or_start = " or a larger start" if start < 1 else ""
        raise MiaError(
            f"{steps} restoration steps do not fit below timestep {top}: use at most {top + 1} "
            f"steps{or_start}."
        )
    path: list[int] = torch.linspace(top, 0, steps, dtype=torch.float64).round().int().tolist()
    return path


def restore(
    target: Target,
    sample_id: Sequence[str],
    cond: Condition,
    project: Callable[[Tensor], Tensor],
    path: Sequence[int],
    eta: float,
    draw: int = 0,
    begin: Tensor | None = None,
) -> Tensor:
    """Restored latents (B, *latent); the last projection is on the clean image. NFE: len(path).

    In pixel space estimates of the clean image are clipped to [-1, 1], as DDPM's samplers do.

    Args:
        project: latents -> the nearest latents that agree with what the degradation kept.
        path: falling timesteps, the first of which is the noisiest.
        eta: share of fresh noise in a move, 0 (deterministic) to 1.
        draw: noise is keyed by (sample id, timestep it is added at, draw).
        begin: latents the walk starts from, noised to path[0]; None starts from pure noise.
    """
    z = target.noise(sample_id, path[0], draw)
    if begin is not None:
        z = target.add_noise(begin, z, path[0])
    for t, u in zip(path, [*path[1:], -1], strict=True):
        eps = target.predict_noise(z, t, cond)
        x0 = clean_estimate(z, eps, target.a[t], target.b[t])
        z = project(x0.clamp(-1, 1) if target.in_pixels else x0)
        if u >= 0:
            if eta > 0:
                fresh = target.noise(sample_id, u, draw)
                eps = math.sqrt(1 - eta**2) * eps + eta * fresh
            z = target.add_noise(z, eps, u)
    return z
