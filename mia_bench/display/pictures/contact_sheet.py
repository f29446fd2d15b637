"""One page of pictures with their captions: what a role looks like, before GPU hours are spent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

from mia_bench.data.pictures.preprocessing import to_rgb
from mia_bench.data.source import Item
from mia_bench.display.pictures.image_text import draw_line, wrap

SIDE, GAP, LINE, FONT = 128, 8, 15, 12
SHEET_COLUMNS = 8
CAPTION_LINES = 3  # of caption under each picture


def contact_sheet(items: Sequence[Item], title: str) -> Image.Image:
    """`items` in reading order, each picture whole in a square of SIDE pixels.

    Captions are drawn as text, cut to the width; a picture that cannot be read is a grey square.
    """
    rows = -(-len(items) // SHEET_COLUMNS)
    cell = SIDE + GAP + CAPTION_LINES * LINE
    page = Image.new(
        "RGB", (SHEET_COLUMNS * (SIDE + GAP) + GAP, rows * cell + 2 * LINE + GAP), "white"
    )
    draw = ImageDraw.Draw(page)
    draw_line(page, (GAP, GAP), title, page.width - 2 * GAP, size=FONT, height=LINE)
    for i, item in enumerate(items):
        row, column = divmod(i, SHEET_COLUMNS)
        left, top = GAP + column * (SIDE + GAP), 2 * LINE + GAP + row * cell
        picture = _thumbnail(item)
        page.paste(picture, (left + (SIDE - picture.width) // 2, top))
        draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline="lightgray")
        for line, text in enumerate(wrap(item.caption, FONT, SIDE, CAPTION_LINES)):
            below = top + SIDE + 2 + line * LINE
            draw_line(page, (left, below), text, SIDE, size=FONT, height=LINE)
    return page


def _thumbnail(item: Item) -> Image.Image:
    try:
        picture = to_rgb(item.load(SIDE))
    except Exception:  # as broken as decoders can find it; the split's manifest says why
        return Image.new("RGB", (SIDE, SIDE), "lightgray")
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


SAMPLE_SHEET = (8, 4)  # columns and rows of the sample sheet
MIN_SAMPLE_PIXELS = 128  # pixels per picture; smaller ones are enlarged by whole factors


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
