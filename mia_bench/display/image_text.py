"""Text on pictures: a font, and lines cut to a width."""

from __future__ import annotations

from typing import Any

from PIL import ImageFont

from mia_bench.utils.text import printable

GAP_PIXELS, LINE_PIXELS, FONT_PIXELS = 6, 17, 13


def fit_line(text: str, font: Any, width: int) -> str:
    """One printable line of `text`, cut where it would be wider than `width` pixels."""
    line = " ".join(printable(text[:1000]).split())
    if font.getlength(line) <= width:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        fits = font.getlength(line[:middle] + "...") <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return line[:low] + "..."


def load_font() -> Any:
    """Pillow's own face; the basic layout reads no features out of the text."""
    font = ImageFont.load_default(FONT_PIXELS)
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return font
