"""Weights as pickles: a pickle is a program, and opening it runs it. None from others is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mia_bench.utils.errors import MiaError

SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")


def is_pickle(path: Path | str) -> bool:
    """By its name: .bin, .ckpt, .pt, .pth, .pkl, .pickle."""
    return Path(path).suffix.lower() in SUFFIXES


def refusal(path: Path | str) -> str:
    return (
        f"{path} is a pickle, and opening one runs whatever program is in it: it is not loaded. "
        "Use the safetensors version of these weights, or convert them where you trust them."
    )


def check_tensors(path: Path) -> None:
    """A published weight file that another package will open as a pickle holds tensors alone.

    Raises:
        MiaError: it cannot be read, or it names anything to run.
    """
    load_tensors(path)


def load_tensors(path: Path) -> Any:
    """What a pickle of tensors holds, on the CPU; nothing in it is run.

    Raises:
        MiaError: it cannot be read, or it names anything to run.
    """
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise MiaError(f"{path} holds more than tensors. {refusal(path)}") from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).partition("\n")[0].rstrip(".")
        raise MiaError(f"{path} cannot be read: {first}. Fetch it again.") from error
