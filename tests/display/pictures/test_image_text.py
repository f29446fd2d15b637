"""Text on pictures: one printable line, cut to a width."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_rows import pictures, shown
from PIL import Image, ImageDraw

from mia_bench.display.pictures import fonts
from mia_bench.display.pictures.evidence import save_strips
from mia_bench.display.pictures.image_text import (
    FONT_PIXELS,
    LINE_PIXELS,
    draw_line,
    fit_line,
    letters_of,
    plain_line,
    text_width,
    wrap,
)

HOSTILE = (
    "$\\frac{x}{0$ <script>alert(1)</script> %s {0} \\input{/etc/passwd}",
    "line one\nline two\r\ttabbed\x00\x1b[31m",
    "\u202ereversed \U0001f600 \u6f22\u5b57 \ud800",
    "x" * 100_000,
    "",
)


@pytest.mark.parametrize("caption", HOSTILE, ids=["markup", "control", "scripts", "long", "empty"])
def test_captions_are_drawn_as_plain_text(caption, tmp_path):
    line = fit_line(caption, FONT_PIXELS, 500)
    assert text_width(line, FONT_PIXELS) <= 500
    assert line.isprintable()
    plain = save_strips(tmp_path / "plain", pictures(1), [shown()])
    paths = save_strips(tmp_path / "drawn", pictures(1), [shown(caption=caption)])
    for one, other in zip(plain, paths, strict=True):
        with Image.open(one) as a, Image.open(other) as b:
            assert a.size == b.size


def test_short_captions_are_kept_whole():
    assert fit_line("a  red\nhat", FONT_PIXELS, 500) == "a red hat"
    assert fit_line("word " * 200, FONT_PIXELS, 300).endswith("...")


SCRIPTS = {
    "latin": "naïve façade, Příliš žluťoučký",
    "cyrillic": "рыжая лиса на снегу",
    "greek": "μια κόκκινη αλεπού",
    "arabic": "ثعلب أحمر في الثلج",
    "hebrew": "שועל אדום בשלג",
    "simplified": "红狐狸在雪地里",
    "traditional": "紅狐狸在雪地裡",
    "japanese": "雪の中の赤いキツネ",
    "korean": "눈 속의 빨간 여우",
    "emoji": "🦊❄️👩🏽\u200d🚀🇩🇪🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f1️⃣",
}


def drawn(text: str, size: int = 40) -> np.ndarray:
    page = Image.new("RGB", (1200, 2 * size), "white")
    draw_line(page, (0, 0), text, 1200, size=size, height=2 * size)
    return np.asarray(page)


def missing_glyph(font) -> np.ndarray:
    """What a font draws for a character that it does not have: a box."""
    page = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(page).text((10, 45), "\U000f0000", font=fonts.load(font, 40), anchor="ls")
    ink = np.asarray(page) < 128
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def holds(page: np.ndarray, shape: np.ndarray) -> bool:
    """Whether the black pixels of `page` hold `shape` anywhere."""
    ink = page.max(axis=2) < 128
    windows = np.lib.stride_tricks.sliding_window_view(ink, shape.shape)
    return bool((windows == shape).all(axis=(2, 3)).any())


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_is_drawn_as_boxes(script):
    page = drawn(SCRIPTS[script])
    assert (page < 200).any()
    for font in fonts.packaged_fonts():
        assert not holds(page, missing_glyph(font))
    assert not any(fonts.NO_FONT in letter.text for letter in letters_of(SCRIPTS[script]))


def test_a_box_would_be_seen():
    """The search above sees the box of a font, where one is drawn."""
    font = fonts.packaged_fonts()[0]
    page = Image.new("RGB", (200, 80), "white")
    ImageDraw.Draw(page).text(
        (20, 50), "fox \U000f0000", font=fonts.load(font, 40), anchor="ls", fill="black"
    )
    assert holds(np.asarray(page), missing_glyph(font))


@pytest.mark.skipif(not fonts.shapes_text(), reason="Pillow was built without raqm")
def test_arabic_letters_are_joined():
    joined = text_width("ببب", 40)
    apart = sum(text_width(c, 40) for c in "ببب")
    assert joined < 0.9 * apart


def test_a_line_from_the_right_stands_at_the_right():
    left, right = (drawn(SCRIPTS[script]) < 128 for script in ("greek", "hebrew"))
    assert left[:, :100].any()
    assert not left[:, -100:].any()
    assert right[:, -100:].any()
    assert not right[:, :100].any()


def test_emoji_are_coloured_and_signs_of_text_are_not():
    def is_coloured(text: str) -> bool:
        page = drawn(text).astype(int)
        return bool((page.max(axis=2) - page.min(axis=2)).max() > 60)

    assert is_coloured("🦊")
    assert is_coloured("❤️")  # the selector asks for a picture
    assert not is_coloured("❤")
    assert not is_coloured("© ™ 1 #")


def test_what_steers_the_direction_is_shown_or_left_out():
    assert plain_line("a\u202eb\u2066c\u200fd\u00ade") == "a\\u202eb\\u2066cde"
    assert plain_line("\u0646\u200c\u0646") == "\u0646\u200c\u0646"  # Persian needs it


def test_ink_stays_in_the_box_of_its_line():
    page = Image.new("RGB", (300, 3 * LINE_PIXELS), "white")
    text = "Z" + "\u0300\u0301\u0302\u0303" * 100 + "\u0e33" * 9 + "𒐫" * 3
    draw_line(page, (40, LINE_PIXELS), text, 200)
    around = np.asarray(page).copy()
    around[LINE_PIXELS : 2 * LINE_PIXELS, 40:240] = 255
    assert (around == 255).all()


@pytest.mark.parametrize("script", SCRIPTS)
def test_lines_are_cut_between_letters(script):
    text = SCRIPTS[script] * 5
    lines = wrap(text, FONT_PIXELS, 90, 3)
    assert len(lines) == 3
    assert lines[-1].endswith("...")
    for line in lines:
        assert text_width(line, FONT_PIXELS) <= 90
    whole = [letter.text for letter in letters_of(plain_line(text))]
    kept = [letter.text for line in lines for letter in letters_of(line.removesuffix("..."))]
    assert [t for t in kept if t != " "] == [t for t in whole if t != " "][
        : len(kept) - kept.count(" ")
    ]
