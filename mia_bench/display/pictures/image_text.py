"""Lines of text on pictures, in any script, joined and ordered as it is read; emoji as drawings.

Text comes from data sets and is not trusted. A line holds at most MAX_CHARACTERS characters;
control characters become spaces and marks that override the direction of writing visible escapes;
marks stacked on one letter are bounded; and whatever a font does, ink stays in its line's box.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw

from mia_bench.display.pictures import fonts, writing_direction

GAP_PIXELS, LINE_PIXELS, FONT_PIXELS = 6, 17, 13
MAX_CHARACTERS = 1_000  # characters of a text that are looked at
MAX_MARKS = 4  # accents, vowels and joiners on one letter
MIN_LETTER_PIXELS = 2  # pixels of the narrowest letter: more letters than fit are not measured
ELLIPSIS = "..."
OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of what follows: they would show another text than is there."""
JOINERS = frozenset("\u200c\u200d")
FIRST_PICTOGRAPH = 0x1F000  # signs below have a shape as text, unless a selector asks for a picture
PICTURE_SELECTOR = "\ufe0f"


@dataclass(frozen=True)
class Letter:
    """What is never divided: a character with its marks, or an emoji with its modifiers."""

    text: str
    font: Path | None
    """None: `picture` is drawn in its place."""
    picture: Path | None = None

    @property
    def direction(self) -> str:
        return writing_direction.direction_class(self.text[0]) if self.font else "ON"


@dataclass(frozen=True)
class Piece:
    """Letters that are drawn at once: one font and one direction, or one emoji."""

    text: str
    font: Path | None
    picture: Path | None
    rightwards: bool

    def width(self, size: int) -> float:
        if self.font is None:
            return size
        font = fonts.load(self.font, size)
        return float(font.getlength(self.text, direction=self._direction()))

    def draw(self, page: Image.Image, x: float, baseline: int, colour: str, size: int) -> None:
        if self.font is None and self.picture is not None:
            page.paste(_drawing(self.picture, size), (round(x), baseline - round(size * 0.85)))
        elif self.font is not None:
            ImageDraw.Draw(page).text(
                (x, baseline),
                self.text,
                fill=colour,
                font=fonts.load(self.font, size),
                anchor="ls",
                direction=self._direction(),
            )

    def _direction(self) -> str | None:
        """As Pillow calls it; it takes none where it cannot shape text."""
        if not fonts.shapes_text():
            return None
        return "ltr" if self.rightwards else "rtl"


def plain_line(text: str) -> str:
    """`text` as one line: single spaces, no control characters, overrides as visible escapes."""
    return " ".join("".join(map(_plain, text[:MAX_CHARACTERS])).split())


def _plain(character: str) -> str:
    if character in OVERRIDES:
        return f"\\u{ord(character):04x}"
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Zl", "Zp"):
        return " "
    if category == "Cf" and character not in JOINERS and not _is_tag(character):
        return ""
    return character


def _is_tag(character: str) -> bool:
    """Letters that are part of the flags of England, Scotland and Wales, and never shown."""
    return 0xE0020 <= ord(character) <= 0xE007F


def fit_line(text: str, size: int, width: int) -> str:
    """One line of `text`, cut where it would be wider than `width` pixels at a font of `size`."""
    line = plain_line(text)
    every = letters_of(line)
    letters = every[: width // MIN_LETTER_PIXELS + 1]
    if len(letters) == len(every) and text_width(line, size) <= width:
        return line
    low, high = 0, len(letters)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(_joined(letters[:middle]) + ELLIPSIS, size) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return _joined(letters[:low]) + ELLIPSIS


def _joined(letters: Sequence[Letter]) -> str:
    return "".join(letter.text for letter in letters)


def wrap(text: str, size: int, width: int, lines: int) -> list[str]:
    """`text` in at most `lines` lines of `width` pixels; the last one is cut where it must be.

    Lines end between words; a word that is wider than a line, as in scripts without spaces, is
    divided between letters.
    """
    rest, wrapped = letters_of(plain_line(text)), list[str]()
    while rest and len(wrapped) < lines - 1:
        taken = _letters_on_line(rest, size, width)
        wrapped.append(_joined(rest[:taken]).strip())
        rest = rest[taken:]
    last = _joined(rest).strip()
    return [*wrapped, fit_line(last, size, width)] if last else wrapped


def _letters_on_line(letters: Sequence[Letter], size: int, width: int) -> int:
    """How many letters the first line takes; at least one."""
    low, high = 1, min(len(letters), width // MIN_LETTER_PIXELS + 1)
    while low < high:
        middle = (low + high + 1) // 2
        fits = text_width(_joined(letters[:middle]).rstrip(), size) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    spaces = [i for i in range(1, low + 1) if i == len(letters) or letters[i].text == " "]
    return spaces[-1] if spaces else low


def text_width(text: str, size: int) -> float:
    """Pixels of one line at a font of `size`."""
    return sum(piece.width(size) for piece in pieces_of(text))


def draw_line(
    page: Image.Image,
    at: tuple[int, int],
    text: str,
    width: int,
    colour: str = "black",
    size: int = FONT_PIXELS,
    height: int = LINE_PIXELS,
) -> None:
    """`text`, cut to `width` pixels, in the box whose upper left corner is `at`, on white.

    A line that begins from the right stands at the right of its box.
    """
    line = fit_line(text, size, width)
    pieces = pieces_of(line)
    box = Image.new("RGB", (max(1, width), height), "white")
    x = 0.0
    if writing_direction.base_level([one.direction for one in letters_of(line)]):
        x = max(0.0, width - sum(piece.width(size) for piece in pieces))
    for piece in pieces:
        piece.draw(box, x, round(size * 0.95), colour, size)
        x += piece.width(size)
    page.paste(box, at)


def pieces_of(text: str) -> list[Piece]:
    """The pieces of one line, as they stand from left to right."""
    letters = letters_of(text)
    classes = [letter.direction for letter in letters]
    levels = writing_direction.levels(classes, writing_direction.base_level(classes))
    runs: list[tuple[Piece, int]] = []
    for (font, level), positions in groupby(
        range(len(letters)), key=lambda i: (letters[i].font, levels[i])
    ):
        run = [letters[i] for i in positions]
        if font is None:
            runs += [(Piece(one.text, None, one.picture, True), level) for one in run]
        else:
            runs.append((Piece(_joined(run), font, None, level % 2 == 0), level))
    return [runs[i][0] for i in writing_direction.visual_order([level for _, level in runs])]


def letters_of(text: str) -> list[Letter]:
    """The letters of a line in the order in which it is written, each with what draws it."""
    letters: list[Letter] = []
    start = 0
    for begin, end in _emoji_spans(text):
        letters += _plain_letters(text[start:begin])
        letters.append(_emoji(text[begin:end]))
        start = end
    return [*letters, *_plain_letters(text[start:])]


def _emoji_spans(text: str) -> list[tuple[int, int]]:
    """Where emoji stand that are pictures, not signs of a text."""
    if text.isascii():
        return []
    import emoji

    spans = [(found["match_start"], found["match_end"]) for found in emoji.emoji_list(text)]
    return [
        (begin, end)
        for begin, end in spans
        if end - begin > 1 or ord(text[begin]) >= FIRST_PICTOGRAPH
    ]


def _emoji(text: str) -> Letter:
    """An emoji as OpenMoji draws it; without a drawing, its first sign as a font has it."""
    picture = drawing_of(text)
    return _letter(text[0]) if picture is None else Letter(text, None, picture)


def _plain_letters(text: str) -> list[Letter]:
    """Characters with their marks; marks beyond MAX_MARKS or without a glyph are left out."""
    letters: list[Letter] = []
    marks = 0
    for character in text:
        if letters and unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf"):
            marks += 1
            last = letters[-1]
            if marks <= MAX_MARKS and last.font and ord(character) in fonts.characters(last.font):
                letters[-1] = Letter(last.text + character, last.font)
        else:
            marks = 0
            letters.append(_letter(character))
    return letters


def _letter(character: str) -> Letter:
    font = fonts.font_with(character)
    if font is None:
        return Letter(fonts.NO_FONT, fonts.font_with(fonts.NO_FONT))
    return Letter(character, font)


def drawing_of(emoji: str) -> Path | None:
    """The file of an emoji's drawing: its own, or that without variation and skin tone."""
    from mia_bench.data.openmoji import drawings_folder

    plain = emoji.replace(PICTURE_SELECTOR, "")
    bare = "".join(c for c in plain if not 0x1F3FB <= ord(c) <= 0x1F3FF)
    for written in dict.fromkeys((emoji, plain, bare, bare[:1])):
        name = "-".join(f"{ord(c):04X}" for c in written)
        if name and (path := drawings_folder() / f"{name}.svg").is_file():
            return path
    return None


def _drawing(path: Path, size: int) -> Image.Image:
    """An emoji in a square of `size` pixels on white; grey where its file cannot be drawn."""
    from mia_bench.data.readers.svg import render

    try:
        picture = render(path, 4 * size)
    except Exception:  # as broken as decoders can find it
        return Image.new("RGB", (size, size), "lightgray")
    return picture.resize((size, size), Image.Resampling.LANCZOS)
