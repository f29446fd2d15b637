"""Fonts for captions in any script: two that are installed with this package, then the system's.

    DejaVu Sans         Latin, Cyrillic, Greek, Arabic, Hebrew, Armenian, Georgian, symbols;
                        packaged by matplotlib; Bitstream Vera licence, changes in the public domain
    Noto Sans CJK JP    Chinese, simplified and traditional, Japanese, Korean;
                        packaged by noto-cjk-sans-jp-regular; SIL Open Font License 1.1

Packages are only looked up, never imported: a package of fonts may change matplotlib's settings.
Characters that neither has are looked for in fonts of the system, so that their look, and theirs
alone, depends on the machine.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from PIL import ImageFont, features

PACKAGED = (
    ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"),
    ("noto_cjk_sans_jp_regular", "NotoSansCJKjp-Regular.otf"),
)
"""Package and path inside it, in the order in which they are asked for a character."""
MAX_SYSTEM_FONTS = 80  # fonts of the system whose characters are read
FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
NO_FONT = "\ufffd"  # stands for a character that no font has; DejaVu Sans draws it


@cache
def packaged_fonts() -> tuple[Path, ...]:
    """The files of PACKAGED that are installed."""
    paths = [_inside(package, path) for package, path in PACKAGED]
    return tuple(path for path in paths if path is not None)


def _inside(package: str, path: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / path).is_file():
            return file
    return None


@cache
def font_with(character: str) -> Path | None:
    """The first font that has a glyph for one character, or None."""
    for path in packaged_fonts():
        if ord(character) in characters(path):
            return path
    return next((p for p in system_fonts() if ord(character) in characters(p)), None)


@cache
def characters(path: Path) -> frozenset[int]:
    """Code points that a font file has glyphs for; none where it cannot be read."""
    from fontTools.ttLib import TTFont

    try:
        with path.open("rb") as file, TTFont(file, lazy=True, fontNumber=0) as font:
            return frozenset(font.getBestCmap() or ())
    except Exception:  # as broken as font parsers can find it
        return frozenset()


@cache
def system_fonts() -> tuple[Path, ...]:
    """Scalable fonts of the system that Pillow can draw, Noto's first."""
    from matplotlib.font_manager import findSystemFonts

    paths = sorted(
        (Path(name) for name in findSystemFonts() if name.lower().endswith(FONT_SUFFIXES)),
        key=lambda path: ("Noto" not in path.name, "Regular" not in path.name, path.name),
    )
    return tuple(path for path in paths[:MAX_SYSTEM_FONTS] if _drawable(path))


def _drawable(path: Path) -> bool:
    """Fonts of fixed-size bitmaps, as of colour emoji, cannot be scaled."""
    try:
        load(path, 13)
    except OSError:
        return False
    return True


@cache
def load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """The font of a file at `size` pixels, shaping text where Pillow was built with raqm."""
    engine = ImageFont.Layout.RAQM if shapes_text() else ImageFont.Layout.BASIC
    return ImageFont.truetype(str(path), size, layout_engine=engine)


@cache
def shapes_text() -> bool:
    """Whether Pillow can join letters and write from right to left: its wheels can."""
    return bool(features.check("raqm"))
