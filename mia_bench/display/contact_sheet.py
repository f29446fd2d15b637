"""One page of pictures with their captions: what a role looks like, before GPU hours are spent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mia_bench.data.readers.preprocessing import to_rgb
from mia_bench.data.source import Item
from mia_bench.display.image_text import fit_line

SIDE, GAP, LINE, FONT = 128, 8, 15, 12
SHEET_COLUMNS = 8
CAPTION_LINES = 3  # of caption under each picture


def contact_sheet(items: Sequence[Item], title: str) -> Image.Image:
    """`items` in reading order, each picture whole in a square of SIDE pixels.

    Captions are drawn as text, cut to the width; a picture that cannot be read is a grey square.
    """
    font = _font()
    rows = -(-len(items) // SHEET_COLUMNS)
    cell = SIDE + GAP + CAPTION_LINES * LINE
    page = Image.new(
        "RGB", (SHEET_COLUMNS * (SIDE + GAP) + GAP, rows * cell + 2 * LINE + GAP), "white"
    )
    draw = ImageDraw.Draw(page)
    draw.text((GAP, GAP), fit_line(title, font, page.width - 2 * GAP), fill="black", font=font)
    for i, item in enumerate(items):
        row, column = divmod(i, SHEET_COLUMNS)
        left, top = GAP + column * (SIDE + GAP), 2 * LINE + GAP + row * cell
        picture = _thumbnail(item)
        page.paste(picture, (left + (SIDE - picture.width) // 2, top))
        draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline="lightgray")
        for line, text in enumerate(wrap(item.caption, font, SIDE)):
            draw.text((left, top + SIDE + 2 + line * LINE), text, fill="black", font=font)
    return page


def wrap(text: str, font: Any, width: int, lines: int = CAPTION_LINES) -> list[str]:
    """`text` in at most `lines` lines of `width` pixels; the last one is cut where it must be."""
    words = text[:1000].split()
    wrapped: list[str] = []
    while words and len(wrapped) < lines - 1:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        wrapped.append(fit_line(" ".join(words[:taken]), font, width))
        words = words[taken:]
    return [*wrapped, fit_line(" ".join(words), font, width)] if words else wrapped


def _thumbnail(item: Item) -> Image.Image:
    try:
        picture = to_rgb(item.load(SIDE))
    except Exception:  # as broken as decoders can find it; the split's manifest says why
        return Image.new("RGB", (SIDE, SIDE), "lightgray")
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _font() -> Any:
    """Pillow's own face; the basic layout reads no features out of the text."""
    font = ImageFont.load_default(FONT)
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return font


SAMPLE_SHEET = (8, 4)  # columns and rows of the sample sheet
MIN_SAMPLE_PIXELS = (
    128  # pixels per picture on the sheet; smaller ones are enlarged by whole factors
)


def save_sheet(images: Tensor, path: Path) -> None:
    """The first images as one PNG: the same captions and noise for every model of a seed."""
    columns, lines = SAMPLE_SHEET
    size = images.shape[-1]
    scale = max(1, -(-MIN_SAMPLE_PIXELS // size))
    shown = ((images[: columns * lines] / 2 + 0.5) * 255).round().byte().permute(0, 2, 3, 1)
    used = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * size * scale, used * size * scale), "white")
    for i, picture in enumerate(shown.numpy()):
        tile = Image.fromarray(picture).resize((size * scale,) * 2, Image.Resampling.NEAREST)
        sheet.paste(tile, (i % columns * size * scale, i // columns * size * scale))
    sheet.save(path)
