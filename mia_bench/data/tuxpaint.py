"""Tux Paint stamps: cut-out photographs and drawings with sentences, from a Debian package.

`tuxpaint-stamps-default`, GPL-2: installed by the user, never shipped with this project. The
caption is the first line (English) of the text file beside each picture: "An old Chinese sailing
ship." A small set: intervals are wide, and most pictures have fewer than 200 pixels a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mia_bench.data.pictures.image_file import read_picture
from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.svg import render
from mia_bench.data.readers.text_file import decode_text
from mia_bench.data.source import Listing
from mia_bench.utils.errors import Missing

# Letters, digits and signs: dozens of each look alike, and their captions are one word.
LEFT_OUT = ("symbols/alphabets", "symbols/math", "symbols/money", "symbols/music", "symbols/shapes")


@dataclass(frozen=True)
class TuxPaint:
    """`root` is the folder of stamps."""

    root: str = "/usr/share/tuxpaint/stamps"

    name: ClassVar[str] = "tuxpaint"
    licence: ClassVar[str] = "GPL-2"

    def items(self) -> Listing:
        """Every stamp that is no letter or sign. Raises Missing that names the package."""
        root = Path(self.root)
        if not root.is_dir():
            raise Missing(
                f"data=tuxpaint needs the Debian package tuxpaint-stamps-default: {root} is not"
                " there. Run apt-get install tuxpaint-stamps-default, or unpack the package"
                " elsewhere and give data.source.root=<its stamps folder>. data=openmoji works"
                " without it."
            )
        pairs = Pairs(self.name, root)
        for path in sorted(p for p in root.rglob("*") if p.suffix in (".png", ".svg")):
            where = path.relative_to(root)
            if any(where.is_relative_to(folder) for folder in LEFT_OUT):
                pairs.skip(where.as_posix(), "letter or sign")
            elif path.suffix == ".png" and path.with_suffix(".svg").exists():
                pairs.skip(where.as_posix(), "also there as a drawing")
            elif path.stem.endswith("_mirror"):
                pairs.skip(where.as_posix(), "mirrored copy")
            else:
                load = render if path.suffix == ".svg" else read_picture
                pairs.add(path, _first_line(path.with_suffix(".txt")), load=load)
        return pairs.listing()


def _first_line(path: Path) -> str | None:
    try:
        return decode_text(path.read_bytes(), errors="replace").partition("\n")[0].strip()
    except OSError:
        return None
