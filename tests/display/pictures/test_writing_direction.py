"""Order of pieces: against Pillow's own bidirectional layout, on text that one font has."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mia_bench.display.pictures import fonts
from mia_bench.display.pictures.writing_direction import (
    base_level,
    direction_class,
    levels,
    visual_order,
)

LINES = (
    "a fox and שועל together",
    "שועל and a fox יחד",
    "שועל 123, אדום",
    "ثعلب 25 درجة",
    "ثعلب 1,000 درجة",
    "price: 5 % שועל 7-8 red",
    "שועל -- fox 10 $ אדום!",
    "fox שועל 12 אדום end",
)


def pieces(line: str) -> tuple[list[str], list[int]]:
    """Runs of equal level from left to right, each as it is written, and their levels."""
    classes = [direction_class(c) for c in line]
    found = levels(classes, base_level(classes))
    runs: list[tuple[str, int]] = []
    for character, level in zip(line, found, strict=True):
        if runs and runs[-1][1] == level:
            runs[-1] = (runs[-1][0] + character, level)
        else:
            runs.append((character, level))
    order = visual_order([level for _, level in runs])
    return [runs[i][0] for i in order], [runs[i][1] for i in order]


@pytest.mark.skipif(not fonts.shapes_text(), reason="Pillow was built without raqm")
@pytest.mark.parametrize("line", LINES)
def test_pieces_stand_where_a_layout_engine_puts_them(line: str) -> None:
    font = fonts.load(fonts.packaged_fonts()[0], 20)
    whole, piecewise = (Image.new("L", (500, 40), 255) for _ in range(2))
    rightwards = base_level([direction_class(c) for c in line]) == 0
    ImageDraw.Draw(whole).text(
        (5, 30), line, font=font, anchor="ls", direction="ltr" if rightwards else "rtl"
    )
    x = 5.0
    for text, level in zip(*pieces(line), strict=True):
        direction = "ltr" if level % 2 == 0 else "rtl"
        ImageDraw.Draw(piecewise).text(
            (round(x), 30), text, font=font, anchor="ls", direction=direction
        )
        x += font.getlength(text, direction=direction)
    # columns with ink: rounding moves a piece by a pixel, a wrong order moves it by a word
    ink = [(np.asarray(page) < 128).sum(axis=0).cumsum() for page in (whole, piecewise)]
    assert np.abs(ink[0] - ink[1]).max() <= 30


def test_the_first_letter_decides_where_a_line_begins() -> None:
    assert base_level([direction_class(c) for c in "12 - fox שועל"]) == 0
    assert base_level([direction_class(c) for c in "12 - שועל fox"]) == 1
    assert base_level([]) == 0


def test_levels_and_order_of_a_mixed_line() -> None:
    assert levels(["L", "ON", "R", "EN", "ON"], 0) == [0, 0, 1, 2, 0]
    assert levels(["R", "ON", "L", "ON", "EN"], 1) == [1, 1, 2, 2, 2]
    assert visual_order([0, 1, 2, 1, 0]) == [0, 3, 2, 1, 4]
    assert visual_order([1, 2, 2, 1]) == [3, 1, 2, 0]
    assert visual_order([]) == []
