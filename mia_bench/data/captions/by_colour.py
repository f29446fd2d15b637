"""Captions by rule, from the picture alone: its colours, its background and how much it fills.

For trying what captions of a machine do where no captioner is at hand: no weights, no network, and
nothing said of what is shown. Ours, and no stand-in for BLIP.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mia_bench.data.pictures.preprocessing import to_rgb
from mia_bench.data.source import Item
from mia_bench.utils.terminal import tracked

VERSION = 1
SIDE = 64  # pixels at which colours are counted
NAMED_COLOURS = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (215, 35, 35),
    "orange": (245, 140, 30),
    "yellow": (250, 220, 60),
    "green": (60, 150, 60),
    "turquoise": (60, 190, 190),
    "blue": (50, 90, 200),
    "purple": (130, 60, 160),
    "pink": (240, 150, 180),
    "brown": (130, 85, 50),
}
LEAST_SHARE = 0.03  # of the picture, for a colour to be named
MOST_COLOURS = 3
SMALL, LARGE = 0.2, 0.5  # shares of the picture that is no background
ELONGATED = 1.5  # longer side over shorter


def describe(items: Sequence[Item]) -> list[str]:
    """One caption per item."""
    return [caption_of(to_rgb(item.load(SIDE))) for item in tracked(items, "captions")]


def caption_of(picture: Image.Image) -> str:
    """'a small tall red and black picture on white'; the same for the same pixels."""
    pixels = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))
    names, palette = list(NAMED_COLOURS), np.array(list(NAMED_COLOURS.values()))
    distance = np.square(pixels[:, :, None].astype(int) - palette).sum(-1)
    nearest = distance.argmin(-1)
    edge = np.concatenate([nearest[0], nearest[-1], nearest[1:-1, 0], nearest[1:-1, -1]])
    background = int(np.bincount(edge, minlength=len(names)).argmax())
    inside = nearest != background
    counts = np.bincount(nearest[inside], minlength=len(names))
    order = sorted(range(len(names)), key=lambda k: (-counts[k], k))
    seen = [names[k] for k in order if counts[k] >= LEAST_SHARE * inside.size][:MOST_COLOURS]
    if not seen:
        return f"a plain {names[background]} picture"
    adjectives = [_size(inside.mean()), _shape(inside), _listed(seen)]
    seen_as = " ".join(word for word in adjectives if word)
    article = "an" if seen_as.startswith("orange") else "a"
    return f"{article} {seen_as} picture on {names[background]}"


def _size(share: float) -> str:
    return "small" if share < SMALL else "large" if share > LARGE else ""


def _shape(inside: np.ndarray) -> str:
    height, width = (np.ptp(np.flatnonzero(inside.any(axis))) + 1 for axis in (1, 0))
    return "wide" if width > ELONGATED * height else "tall" if height > ELONGATED * width else ""


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
