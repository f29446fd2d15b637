"""What a U-Net computes in while scoring: its own precision, half of it, or TF32 on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mia_bench.errors import MiaError
from mia_bench.target import Target


@contextmanager
def scoring_in(dtype: str | None, target: Target) -> Iterator[None]:
    """Inside, `target` answers in `dtype`: bfloat16, float16, tf32, or None for its own.

    Unless TF32 is asked for float32 means float32: torch on its own rounds what convolutions on a
    GPU multiply to TF32. Training is not touched.

    Raises:
        MiaError: TF32 without a GPU.
    """
    if dtype == "tf32" and target.device.type != "cuda":
        raise MiaError("eval.dtype=tf32 needs a GPU: leave it out here, or use bfloat16.")
    if dtype not in (None, "tf32"):
        target.compute_in(getattr(torch, dtype))
    with _products("tf32" if dtype == "tf32" else "ieee"):
        yield


@contextmanager
def _products(precision: str) -> Iterator[None]:
    """Matrix products and convolutions of float32 tensors on a GPU: "ieee" or "tf32"."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in _switches(precision)]
    for owner, name, value in _switches(precision):
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _switches(precision: str) -> list[tuple[Any, str, Any]]:
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):  # torch 2.9 renamed them, and refuses to mix the two
        return [(matmul, "fp32_precision", precision), (cudnn.conv, "fp32_precision", precision)]
    return [(owner, "allow_tf32", precision == "tf32") for owner in (matmul, cudnn)]
