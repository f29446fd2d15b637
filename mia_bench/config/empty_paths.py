"""Paths on the command line that are empty, as a shell variable that is not set leaves them.

An empty path would be the present folder, the root of the file system, or nothing at all: a run
that leaves out a LoRA without a word.
"""

from __future__ import annotations

from collections.abc import Iterable

from mia_bench.utils.errors import MiaError

PATHS = (
    *("paths.outputs", "data.source.root", "data.split", "model.path", "model.base", "model.unet"),
    *("model.lora", "model.embeddings", "model.config"),
)
"""Keys of files and folders; null is how none is said."""


def refuse_empty_paths(words: Iterable[str]) -> None:
    """Raise MiaError for the first of `words` that gives one of PATHS nothing."""
    for word in words:
        key, equals, value = word.partition("=")
        name = key.lstrip("+").removeprefix("--")
        if equals and name in PATHS and not value.strip("'\" []"):
            raise MiaError(
                f"{name}= is empty, as a shell variable that is not set leaves it: name a file or "
                f"folder, or leave {name} out."
            )
