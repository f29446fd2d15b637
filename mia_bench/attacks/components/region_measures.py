"""Restored pictures compared with the original inside the hole alone, or as a whole.

`x~_j` are the restorations of one damage, `h` the hidden pixels:
    hole_mse    mean_j mean over h of (x~_j - x)^2
    whole_mse, whole_vae, whole_ssim    of the whole pictures, mean over j
    spread      mean over h of the variance over j of x~_j: a memory is restored the same each time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from mia_bench.attacks.components.image_similarity import (
    CropMeasure,
    RegionMeasure,
    comparison,
)
from mia_bench.target import Target

REGION_MEASURES: tuple[str, ...] = get_args(RegionMeasure)
WHOLE: dict[str, CropMeasure] = {"whole_mse": "mse", "whole_vae": "vae", "whole_ssim": "ssim"}


def measure_region(
    name: RegionMeasure,
    target: Target,
    original: Tensor,
    restored: Sequence[Tensor],
    keep: Tensor | None,
) -> Tensor:
    """(B,) of pictures (B, 3, H, W) in [-1, 1].

    Args:
        restored: the restorations of one damage; `spread` needs two.
        keep: (B, 1, H, W), False on the hidden pixels; None: every pixel was changed.
    """
    if name == "spread":
        return mean_over_hidden(torch.stack(list(restored)).var(0, unbiased=True), keep)
    if name == "hole_mse":
        errors = [mean_over_hidden((x - original).square(), keep) for x in restored]
        return torch.stack(errors).mean(0)
    compare = comparison(WHOLE[name], target, original.shape[-1])
    return torch.stack([compare(original, x) for x in restored]).mean(0)


def mean_over_hidden(values: Tensor, keep: Tensor | None) -> Tensor:
    """(B,) mean of `values` (B, C, H, W) over the channels of the hidden pixels."""
    if keep is None:
        return values.flatten(1).mean(1)
    hidden = (~keep).to(values.device).expand_as(values)
    total = torch.where(hidden, values, torch.zeros_like(values)).flatten(1).sum(1)
    return total / hidden.flatten(1).sum(1)


def pasted(restored: Tensor, original: Tensor, keep: Tensor | None) -> Tensor:
    """`restored` with the known pixels of `original`: it differs only where it was damaged."""
    return restored if keep is None else torch.where(keep.to(restored.device), original, restored)
