"""Rendering SVG files, so that a drawing has the detail the model's resolution can hold."""

from __future__ import annotations

import re
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image

from mia_bench.data.pictures.preprocessing import MAX_ASPECT, require_usable_size
from mia_bench.data.readers.text_file import decode_text

REMEMBERED_DRAWINGS = 2048  # with the two limits below, 50 MB at most
REMEMBERED_CHARACTERS = 16_384
REMEMBERED_PIXELS = 128  # a side
DPI = 96  # of CSS; without one, sizes in points or millimetres are no sizes
# The renderer would read any file that an image or a filter names: all references but those to the
# drawing itself are emptied, whatever element and quoting they are in.
INCLUDES = re.compile(r"""(\bhref\s*=\s*)(["'])(?!data:|#)[^"']*""")


def render(path: Path, resolution: int) -> Image.Image:
    """A drawing of any shape on white, its shorter side `resolution` pixels.

    Raises ValueError for a strip longer than MAX_ASPECT times its width, or what is no SVG.
    """
    wide = _render(path, width=resolution)
    # rounded to a few pixels, a height says little of the shape: look again before it is a width
    probe = wide if wide.height > 2 else _render(path, width=10 * MAX_ASPECT)
    require_usable_size(probe.size)
    return wide if wide.height >= resolution else _render(path, height=resolution)


def _render(path: Path, width: int | None = None, height: int | None = None) -> Image.Image:
    text = INCLUDES.sub(r"\1\2data:,", decode_text(path.read_bytes()))
    small = len(text) <= REMEMBERED_CHARACTERS and max(width or 0, height or 0) <= REMEMBERED_PIXELS
    return Image.open(BytesIO((_remembered_png if small else _png)(text, width, height))).convert(
        "RGB"
    )


def _png(text: str, width: int | None, height: int | None) -> bytes:
    """The drawing `text` as an opaque PNG, which is decided by these three alone."""
    import resvg_py

    # System fonts would make the same drawing differ between machines.
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=text,
            background="white",
            skip_system_fonts=True,
            dpi=DPI,
            width=width,
            height=height,
        )
    )


# Perceptual hashes, latents and the blind baselines look at the same small drawings, and so does
# the next job of a sweep: rendering takes 4 ms, reading the PNG again a tenth of that.
_remembered_png = lru_cache(maxsize=REMEMBERED_DRAWINGS)(_png)
