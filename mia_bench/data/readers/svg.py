"""Rendering SVG files, so that a drawing has the detail the model's resolution can hold."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

from PIL import Image

from mia_bench.data.readers.preprocessing import MAX_ASPECT, require_square_enough

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
    require_square_enough(probe.size)
    return wide if wide.height >= resolution else _render(path, height=resolution)


def _render(path: Path, width: int | None = None, height: int | None = None) -> Image.Image:
    import resvg_py

    text = INCLUDES.sub(r"\1\2data:,", path.read_text(encoding="utf-8"))
    # System fonts would make the same drawing differ between machines.
    png = resvg_py.svg_to_bytes(
        svg_string=text,
        background="white",
        skip_system_fonts=True,
        dpi=DPI,
        width=width,
        height=height,
    )
    return Image.open(BytesIO(png)).convert("RGB")
