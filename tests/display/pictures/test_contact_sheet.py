from __future__ import annotations

import numpy as np
from corpus import picture
from PIL import Image

from mia_bench.data.source import Item
from mia_bench.display.pictures.contact_sheet import (
    CAPTION_LINES,
    FONT,
    GAP,
    SHEET_COLUMNS,
    SIDE,
    contact_sheet,
)
from mia_bench.display.pictures.image_text import text_width, wrap


def item(i: int, caption: str = "a fish", size: tuple[int, int] = (24, 20)) -> Item:
    return Item(f"x:{i}", caption, f"{i}.png", lambda _: picture(i, size))


def broken(_: int) -> Image.Image:
    raise OSError("gone")


def test_every_picture_is_whole_and_in_its_place() -> None:
    red = Item("x:1", "a", "a", lambda _: Image.new("RGB", (40, 10), "red"))
    page = np.asarray(contact_sheet([item(0)] * SHEET_COLUMNS + [red], "title"))
    is_red = (page == (255, 0, 0)).all(axis=2)
    rows, columns = np.nonzero(is_red)
    assert (columns.min(), columns.max()) == (GAP, GAP + SIDE - 1)
    assert rows.max() - rows.min() == SIDE // 4 - 1  # its shape is kept
    assert rows.min() > SIDE  # on the second line


def test_a_picture_that_cannot_be_read_is_grey() -> None:
    page = np.asarray(contact_sheet([Item("x:1", "a", "a", broken)], "title"))
    assert ((page == 211).all(axis=2)).sum() >= SIDE * SIDE


def test_captions_are_wrapped_and_cut() -> None:
    text = "one two three four five six seven eight nine ten " * 20
    lines = wrap(text, FONT, 100, CAPTION_LINES)
    assert len(lines) == 3
    assert all(text_width(line, FONT) <= 100 for line in lines)
    assert (
        lines[0].split()
        == ["one", "two", "three", "four", "five", "six", "seven"][: len(lines[0].split())]
    )
    assert lines[-1].endswith("...")
    assert wrap("short", FONT, 100, CAPTION_LINES) == ["short"]
    assert wrap("", FONT, 100, CAPTION_LINES) == []
    (line, *_) = wrap("x" * 1000, FONT, 100, CAPTION_LINES)
    assert text_width(line, FONT) <= 100


def test_captions_of_strangers_do_not_break_the_page() -> None:
    for text in ("<script>", "a\u202eb", "سمكة", "🐟" * 99, "{" * 50, "%s %n"):
        assert contact_sheet([item(0, text)], text).width > SIDE
