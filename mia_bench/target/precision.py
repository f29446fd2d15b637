"""What a U-Net computes in while scoring: its own precision, half of it, or TF32 on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from mia_bench.utils.errors import MiaError
from mia_bench.utils.precision import products

if TYPE_CHECKING:
    from mia_bench.target.model import Target


@contextmanager
def scoring_in(dtype: str | None, target: Target) -> Iterator[None]:
    """Inside, the U-Net of `target` computes in `dtype`: bfloat16, float16, tf32, or None: its own.

    Without tf32, float32 means float32: torch on its own rounds the factors of convolutions on a
    GPU to TF32. Training is not touched; images are always encoded exactly, because runs of every
    dtype share the latents.

    Raises:
        MiaError: TF32 without a GPU.
    """
    if dtype == "tf32" and target.device.type != "cuda":
        raise MiaError("eval.dtype=tf32 needs a GPU: leave it out here, or use bfloat16.")
    if dtype not in (None, "tf32"):
        target.compute_in(getattr(torch, dtype))
    with products("tf32" if dtype == "tf32" else "ieee"):
        yield
