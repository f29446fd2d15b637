"""Captions by rule on pictures that are painted here."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw

from mia_bench.data.captions.by_colour import NAMED_COLOURS, caption_of


def painted(background: str, *boxes: tuple[str, tuple[int, int, int, int]]) -> Image.Image:
    """64 px of one colour with filled boxes (left, top, right, bottom) on it."""
    picture = Image.new("RGB", (64, 64), NAMED_COLOURS[background])
    draw = ImageDraw.Draw(picture)
    for colour, (left, top, right, bottom) in boxes:
        draw.rectangle((left, top, right - 1, bottom - 1), NAMED_COLOURS[colour])
    return picture


@pytest.mark.parametrize(
    ("boxes", "caption"),
    [
        ((), "a plain white picture"),
        ([("red", (16, 16, 48, 48))], "a red picture on white"),
        ([("orange", (16, 16, 48, 48))], "an orange picture on white"),
        ([("red", (4, 4, 60, 60)), ("blue", (4, 4, 60, 20))], "a large red and blue picture on"),
        ([("green", (28, 4, 36, 60))], "a small tall green picture on white"),
        ([("green", (4, 28, 60, 36))], "a small wide green picture on white"),
        ([("pink", (16, 16, 48, 48)), ("black", (16, 16, 18, 18))], "a pink picture on white"),
    ],
)
def test_a_caption_says_colours_size_and_shape(boxes, caption):
    assert caption_of(painted("white", *boxes)).startswith(caption)


def test_the_background_is_the_colour_of_most_of_the_edge():
    assert caption_of(painted("blue", ("white", (0, 16, 30, 44)))) == "a white picture on blue"


def test_of_many_colours_the_three_largest_are_named():
    columns = ["red", "green", "yellow", "purple"]
    boxes = [(c, (10 + 8 * i, 20, 18 + 8 * i, 56 - 4 * i)) for i, c in enumerate(columns)]
    assert caption_of(painted("white", *boxes)) == "a red, green and yellow picture on white"
