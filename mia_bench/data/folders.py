"""Two folders of pictures that are told apart by whoever audits a model, captions optional.

As `Given`, but the folders lie anywhere, a picture needs no caption, and one caption may be said of
all. `mia_bench.audit` deals the roles itself, by folder, so that no picture is refused because it
resembles another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.picture_folder import add_folder
from mia_bench.data.source import Item, Listing, Skip, listing
from mia_bench.utils.errors import Missing

MEMBER, NONMEMBER = "member", "nonmember"
WITHOUT_CAPTION = ("no caption", "the caption is empty")
"""Why a reader passes over pictures that are wanted here."""
PLACEHOLDER = "-"
CaptionSource = Literal["own", "none", "one"]


@dataclass(frozen=True)
class Folders:
    """Pools `member` and `nonmember`.

    Args:
        captions: own (empty where a picture has none), none, or one for all, which is `caption`.
        content: what the folders held when the audit was planned: it only keeps audits of other
            content apart.
        follow_links: links may lead out of the folders, and linked folders are read.
    """

    members: str
    nonmembers: str
    captions: CaptionSource = "own"
    caption: str = ""
    content: str = ""
    name: str = "audit"
    licence: str = "yours to know"
    follow_links: bool = False

    def items(self) -> Listing:
        """Both pools. Raises Missing when a folder is not there."""
        items: list[Item] = []
        skipped: list[Skip] = []
        for folder, pool in ((self.members, MEMBER), (self.nonmembers, NONMEMBER)):
            read = read_folder(Path(folder).expanduser(), self.name, self.follow_links)
            items += [
                captioned(replace(item, pool=pool), self.captions, self.caption)
                for item in read.items
            ]
            skipped += read.skipped
        return listing(items, skipped)


def captioned(item: Item, captions: CaptionSource, caption: str) -> Item:
    """`item` with its own caption, none, or `caption`, the one of all."""
    if captions == "own":
        return item
    return replace(item, caption=caption if captions == "one" else "")


def read_folder(folder: Path, source: str, follow_links: bool = False) -> Listing:
    """Every picture below `folder`, with its caption or "". Raises Missing when it is not there."""
    if not folder.is_dir():
        raise Missing(f"{folder} is not a folder: give a folder of pictures.")
    pairs = Pairs(source, folder, follow_links=follow_links)
    add_folder(pairs, folder)
    captioned = {item.name for item in pairs.items}
    passed_over = [skip for skip in pairs.skipped if skip.reason in WITHOUT_CAPTION]
    pairs.skipped = [skip for skip in pairs.skipped if skip.reason not in WITHOUT_CAPTION]
    for skip in passed_over:
        pairs.add(folder / skip.name, PLACEHOLDER)
    pairs.items = [
        item if item.name in captioned else replace(item, caption="") for item in pairs.items
    ]
    return pairs.listing()
