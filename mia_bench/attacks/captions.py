"""Reduced captions: the conditions c*_1 ... c*_{K-1} of CLiD (arXiv 2405.14800, section 4.2)."""

from __future__ import annotations

import numpy as np


def word_thirds(caption: str) -> tuple[str, str, str]:
    """First, middle and last third of the words. A short caption leaves thirds empty."""
    words = caption.split()
    first, middle, last = (
        " ".join(part) for part in np.array_split(np.array(words, dtype=object), 3)
    )
    return first, middle, last


def character_thirds(caption: str) -> tuple[str, str, str]:
    """First, middle and last third of the characters, as the released code cuts."""
    n = len(caption)
    return caption[: n // 3], caption[n // 3 : 2 * n // 3], caption[2 * n // 3 :]
