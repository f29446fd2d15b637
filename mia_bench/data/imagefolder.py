"""A folder of pictures with captions, in the layout of the hub's `imagefolder` and its relatives.

What is read is in readers/picture_folder.py; a folder that holds parquet files with pictures and
nothing else is read as those.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mia_bench.data.readers.caption_fields import CaptionRule
from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.parquet_rows import Columns, add_tables, with_pictures
from mia_bench.data.readers.picture_folder import CAPTIONS, add_folder, is_picture
from mia_bench.data.source import Listing
from mia_bench.utils.errors import Missing


@dataclass(frozen=True)
class ImageFolder:
    """`root` is the folder; `caption` the column or columns of captions (None: text, caption,
    captions, prompt); `member` the column that says who is a member (None: is_member, member or
    split, where a model is audited as it is); `follow_links` lets links lead out of the folder."""

    root: str
    caption: str | tuple[str, ...] | None = None
    caption_choice: CaptionRule = "first"
    name: str = "imagefolder"
    licence: str = "yours to know"
    member: str | None = None
    follow_links: bool = False

    def items(self) -> Listing:
        """Every picture with a caption. Raises Missing when the folder is not there."""
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise Missing(
                f"data={self.name}: {root} is not a folder. Give data.source.root=<folder> with"
                " pictures and metadata.jsonl (file_name and text), metadata.csv, or one .txt"
                " beside each picture. data=openmoji works without a folder."
            )
        pairs = Pairs(
            self.name,
            root,
            self.caption_choice,
            member=self.member,
            follow_links=self.follow_links,
        )
        if parquet := parquet_alone(root):
            columns = (self.caption,) if isinstance(self.caption, str) else self.caption
            add_tables(pairs, parquet, Columns() if columns is None else Columns(caption=columns))
        else:
            add_folder(pairs, root, caption_columns(self.caption))
        return pairs.listing()


def caption_columns(caption: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Columns of captions as an option names them: one, several, or the usual ones."""
    if caption is None:
        return CAPTIONS
    return (caption,) if isinstance(caption, str) else caption


def parquet_alone(root: Path) -> list[Path]:
    """The parquet files of a folder that hold pictures, where nothing else in it does."""
    files = [path for path in sorted(root.rglob("*.parquet")) if path.name != "metadata.parquet"]
    others = (p for p in root.rglob("*") if is_picture(p) or p.suffix.lower() in (".tar", ".arrow"))
    return files if with_pictures(files) and next(others, None) is None else []
