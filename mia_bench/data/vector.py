"""Rendering SVG files, so that a drawing has the detail the model's resolution can hold."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from mia_bench.data.source import require_square_enough

DPI = 96  # of CSS; without one, sizes in points or millimetres are no sizes


def render_square(path: Path, resolution: int) -> Image.Image:
    """A square drawing at resolution x resolution on white."""
    return _render(path, width=resolution, height=resolution)


def render(path: Path, resolution: int) -> Image.Image:
    """A drawing of any shape on white, its shorter side `resolution` pixels.

    Raises ValueError for a strip longer than MAX_ASPECT times its width, or what is no SVG.
    """
    wide = _render(path, width=resolution, dpi=DPI)
    require_square_enough(wide.size)
    return wide if wide.height >= resolution else _render(path, height=resolution, dpi=DPI)


def _render(path: Path, **size: int) -> Image.Image:
    import resvg_py

    # System fonts would make the same drawing differ between machines. The text is read here, so
    # that a drawing has no folder from which it could include other files.
    png = resvg_py.svg_to_bytes(
        svg_string=path.read_text(encoding="utf-8"),
        background="white",
        skip_system_fonts=True,
        **size,
    )
    return Image.open(BytesIO(png)).convert("RGB")
