"""Image-caption pairs in parquet files: a folder of them, or a data set of the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mia_bench.data.imagefolder import caption_columns
from mia_bench.data.readers.caption_fields import CaptionRule
from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.hub import HubFiles, absent, cached, fetch
from mia_bench.data.readers.parquet_rows import Columns, add_tables, with_pictures
from mia_bench.data.readers.picture_folder import add_folder, is_picture
from mia_bench.data.source import Listing
from mia_bench.utils.errors import MiaError, Missing


@dataclass(frozen=True)
class Parquet:
    """Parquet files under `root`, or those of the hub data set `hub` where `root` has none.

    `image` is a column of encoded pictures (bytes, or {bytes, path} as the hub writes them),
    `caption` one or more columns of texts or lists of texts, `file_name` the column that names a
    row, if any, `member` the column that says who is a member (None: is_member, member or split,
    where a model is audited as it is). A `root` without a picture in a parquet file is read as an
    image folder, in which `follow_links` lets links lead out of it.
    """

    name: str
    licence: str
    root: str
    hub: str | None = None
    split: str = "train"
    revision: str | None = None
    files: int | None = None
    size: str = ""
    image: str = "image"
    caption: str | tuple[str, ...] = ("text", "caption")
    file_name: str | tuple[str, ...] = ("file_name", "filename")
    caption_choice: CaptionRule = "first"
    member: str | None = None
    follow_links: bool = False

    def items(self) -> Listing:
        """Every row with a picture and a caption. Raises Missing when the files are not there."""
        root = Path(self.root).expanduser()
        pairs = Pairs(
            self.name,
            root,
            self.caption_choice,
            member=self.member,
            follow_links=self.follow_links,
        )
        captions, names = caption_columns(self.caption), caption_columns(self.file_name)
        columns = Columns(self.image, captions, names)
        files = parquet_files(root)
        if files and not _beside_pictures(root, files):
            add_tables(pairs, files, columns)
        elif root.is_dir() and any(root.iterdir()):
            add_folder(pairs, root, captions)
        elif self.hub is None:
            raise Missing(self._advice())
        else:
            add_tables(pairs, fetch(self._hub(), self._advice()), columns)
        return pairs.listing()

    def downloads(self) -> str:
        """What `items` would fetch, or ""."""
        root = Path(self.root).expanduser()
        if self.hub is None or (root.is_dir() and any(root.iterdir())) or cached(self._hub()):
            return ""
        return absent(self.name, str(self._hub()), self.licence, self._advice())

    def _hub(self) -> HubFiles:
        if self.hub is None:
            raise MiaError(f"data={self.name} names no data set of the hub.")
        return HubFiles(self.hub, self.split, self.revision, self.files, self.size)

    def _advice(self) -> str:
        get = f" ({self._hub().command()} --local-dir {self.root})" if self.hub else ""
        return (
            f"data={self.name} looks for parquet files, or pictures with metadata.jsonl, in"
            f" {self.root}{get}; data.source.root=<folder> points elsewhere."
            " data=openmoji works now."
        )


def _beside_pictures(root: Path, files: list[Path]) -> bool:
    """The tables hold no picture, and stand beside pictures or archives: metadata.parquet, or the
    tables of addresses that img2dataset leaves."""
    if with_pictures(files):
        return False
    return any(is_picture(path) or path.suffix.lower() == ".tar" for path in root.rglob("*"))


def parquet_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
