"""Open Clip Art Library 0.18: drawings in the public domain, from two Debian packages.

The pictures are the PNG files of `openclipart-png`; titles and tags come from the RDF metadata of
the SVG file of the same name in `openclipart-svg`. Caption: title, then tags: "school (country),
education, building". A title that names a whole collection gives way to the file's name.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.text_file import decode_text
from mia_bench.data.source import Listing
from mia_bench.utils.errors import Missing

# Marks of companies, icon sets, and generated series of near-identical shapes.
LEFT_OUT = {
    "logos": "logo",
    "computer/icons/flat-theme": "theme icon",
    "computer/icons/lemon-theme": "theme icon",
    "computer/icons/etiquette-theme": "theme icon",
    "computer/buttons": "button",
    "buttons": "button",
    "shapes/stars": "generated star",
    "special": "gradient or pattern",
    "recreation/games/cards": "playing card",
    "unsorted/duplicates": "duplicate",
    "people/clothing/pantyhose": "risqué",
}
THEMES = re.compile(r"gold-theme|blueberry - iconset|plastik-icon-theme|Etiquette Icons|Lemon SVG")
RISQUE = re.compile(r"\b(sex|sexy|stripper|nude|naked|erotic|topless|lingerie|pantyhose)\b", re.I)
# Titles of series, which say nothing about the single picture.
SERIES = re.compile(
    r"Clipart by |AIGA Symbol|Various Cliparts|SVG Road Signs|Map Symbols|Homes Clipart"
    r"|Australian Maps|R16 sibmission|advertising$|Simple arrows"
)
NO_TAG = re.compile(
    r"hash(\(0x[0-9a-f]+\))?|0x[0-9a-f]+|\d+|unsorted|mapsym|architetto francesco rollandin"
)


@dataclass(frozen=True)
class OpenClipart:
    """`root` holds png/ and svg/ with equal trees. `tags`: how many tags may follow the title."""

    root: str = "/usr/share/openclipart"
    tags: int = 5

    name: ClassVar[str] = "openclipart"
    licence: ClassVar[str] = "public domain"

    def items(self) -> Listing:
        """Every usable drawing. Raises Missing that names the packages."""
        folder = Path(self.root) / "png"
        if not folder.is_dir() or not (Path(self.root) / "svg").is_dir():
            raise Missing(
                f"data=openclipart needs the Debian packages openclipart-png and openclipart-svg:"
                f" {folder} and {folder.with_name('svg')} must be there. Run"
                " apt-get install openclipart-png openclipart-svg, or unpack the two packages"
                " elsewhere and give data.source.root=<folder with png/ and svg/>."
                " data=openmoji works without them."
            )
        pairs = Pairs(self.name, folder)
        for path in sorted(folder.rglob("*.png")):
            where = path.relative_to(folder)
            title, tags = _metadata((Path(self.root) / "svg" / where).with_suffix(".svg"))
            reason = _left_out(where, path.is_symlink(), f"{title} {' '.join(tags)}")
            if reason:
                pairs.skip(where.as_posix(), reason)
            else:
                pairs.add(path, _caption(where.stem, title, tags[: self.tags]))
        return pairs.listing()


def _left_out(where: Path, is_link: bool, text: str) -> str:
    """Why a drawing is not used, or ""."""
    if is_link:
        return "link to another drawing"
    for folder, reason in LEFT_OUT.items():
        if where.is_relative_to(folder):
            return reason
    if THEMES.search(text):
        return "theme icon"
    return "risqué" if RISQUE.search(text.replace("_", " ")) else ""


def _caption(stem: str, title: str, tags: list[str]) -> str:
    if not title or SERIES.search(title):
        title = re.sub(r"[\s\d_-]+", " ", stem).strip()
    title_words = title.lower().replace(",", " ").split()
    return ", ".join([title, *(tag for tag in tags if tag not in title_words)])


def _metadata(svg: Path) -> tuple[str, list[str]]:
    """(title, tags) of a drawing, ("", []) when there are none.

    Searched for in the text: some of the files are not well-formed XML, and nothing here should be
    expanded by a parser.
    """
    try:
        text = decode_text(svg.read_bytes(), errors="replace")
    except OSError:
        return "", []
    block = re.search(r"<metadata.*?</metadata>", text, re.DOTALL)
    inside = block.group() if block else ""
    title = re.search(r"<dc:title[^>]*>([^<]*)<", inside)
    subject = re.search(r"<dc:subject[^>]*>(.*?)</dc:subject>", inside, re.DOTALL)
    entries = re.findall(r"<rdf:li[^>]*>([^<]*)<", subject.group(1)) if subject else []
    tags = [_words(tag).lower() for tag in entries]
    # the files list tags in no order; sorting keeps captions equal between builds of the package
    distinct = sorted({tag for tag in tags if tag and not NO_TAG.fullmatch(tag)})
    return _words(title.group(1)) if title else "", distinct


def _words(text: str) -> str:
    return " ".join(html.unescape(text).replace("_", " ").split())
