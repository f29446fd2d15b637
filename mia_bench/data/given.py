"""Members and non-members that somebody else has told apart: a folder of each.

For a model that is audited as it is, by whoever knows what went into it (`root`/members) and has
pictures of the same origin that did not (`root`/nonmembers): a model owner before a release, a data
owner with published and unpublished works, or a published pair of sets. If the two differ in more
than membership, an attack finds the difference and calls it membership: read the blind rows first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mia_bench.data.parquet import parquet_files
from mia_bench.data.readers.caption_fields import CaptionRule
from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.parquet_rows import Columns, add_tables, with_pictures
from mia_bench.data.readers.picture_folder import CAPTIONS, add_folder
from mia_bench.data.source import Listing
from mia_bench.utils.errors import Missing

POOLS = {"members": "member", "nonmembers": "nonmember"}


@dataclass(frozen=True)
class Given:
    """Pools `member` and `nonmember`, each a folder of pictures with captions, or of parquet.

    `follow_links` lets links lead out of `root`, and enters linked folders.
    """

    root: str
    name: str = "given"
    licence: str = "yours to know"
    caption_choice: CaptionRule = "first"
    follow_links: bool = False

    def items(self) -> Listing:
        """Both pools. Raises Missing when a folder is not there."""
        root, rule = Path(self.root).expanduser(), self.caption_choice
        return read_pools(root, self.name, rule, self.advice, self.follow_links)

    def advice(self, folder: str) -> str:
        return (
            f"data=given ({self.name}) looks for pictures with captions in {self.root}/members and"
            f" {self.root}/nonmembers, and {folder} is not there. Give"
            " data.source.root=<folder> with those two, each with metadata.jsonl (file_name and"
            " text), metadata.csv, one .txt beside each picture, or parquet files."
            " data=openmoji works without a folder."
        )


def read_pools(
    root: Path,
    name: str,
    rule: CaptionRule,
    advice: Callable[[str], str],
    follow_links: bool = False,
) -> Listing:
    """The two folders of `root`; `advice(folder)` is the message when one is not there."""
    pairs = Pairs(name, root, rule, follow_links=follow_links)
    for folder, pool in POOLS.items():
        if not (root / folder).is_dir():
            raise Missing(advice(folder))
        if with_pictures(files := parquet_files(root / folder)):
            add_tables(pairs, files, Columns("image", CAPTIONS), pool)
        else:
            add_folder(pairs, root / folder, CAPTIONS, pool)
    return pairs.listing()
