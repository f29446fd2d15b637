"""Switches of torch that decide how exactly products are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Matrix products and convolutions of float32 tensors on a GPU: "ieee" or "tf32"."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in _switches(precision)]
    for owner, name, value in _switches(precision):
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Inside, float32 is computed in float32, whatever surrounds it: autocast, TF32."""
    with torch.autocast(device.type, enabled=False), products("ieee"):
        yield


def _switches(precision: str) -> list[tuple[Any, str, Any]]:
    """(owner, name, value). torch 2.9 renamed both and refuses to read a mixture of old and new.

    Lightning reads the old switch of products, which sets the new one too; that of convolutions
    does not stand alone, so the new one is used where there is one.
    """
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    rounded = precision == "tf32"
    if hasattr(matmul, "fp32_precision"):
        return [(matmul, "allow_tf32", rounded), (cudnn.conv, "fp32_precision", precision)]
    return [(matmul, "allow_tf32", rounded), (cudnn, "allow_tf32", rounded)]
