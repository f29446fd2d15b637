"""MS-COCO 2017 captions: members and non-members from val2017, shadow data from train2017.

Local files in the official layout under `root`: annotations/captions_val2017.json and
captions_train2017.json, val2017/*.jpg and train2017/*.jpg; or parquet files in the folders val2017
and train2017; else parquet mirrors of the hub. Five captions a picture: `caption_choice` picks one.
The images are on Flickr under their own terms, the annotations CC BY 4.0.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mia_bench.data.parquet import parquet_files
from mia_bench.data.readers.caption_fields import CaptionRule
from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.hub import HubFiles, absent, cached, fetch
from mia_bench.data.readers.parquet_rows import Columns, add_tables
from mia_bench.data.readers.text_file import decode_text, read_file
from mia_bench.data.source import Listing
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.terminal import tracked

VAL, TRAIN = "val2017", "train2017"
MIRRORS = {
    VAL: HubFiles(
        "lmms-lab/COCO-Caption2017",
        "val",
        "336b06165226abcbb51ea39c63f5726216b388b6",
        None,
        "0.8 GB",
    ),
    # 113,287 images of COCO 2014; those of val2017 among them are left out below
    TRAIN: HubFiles("Multimodal-Fatima/COCO_captions_train", "train", None, 3, "1.4 GB of 17"),
}
COLUMNS = {
    VAL: Columns("image", ("answer", "caption", "text"), ("question_id", "file_name")),
    TRAIN: Columns("image", ("sentences_raw", "caption", "text"), ("filename", "file_name")),
}
ADVICE = (
    "data=mscoco looks in {root} for annotations/captions_val2017.json, val2017/*.jpg and the same"
    " for train2017, or for parquet files in {root}/val2017 and {root}/train2017. To get the"
    " originals: for f in zips/val2017 zips/train2017 annotations/annotations_trainval2017; do"
    " curl -LO http://images.cocodataset.org/$f.zip; done (0.8, 18 and 0.2 GB), and unzip them"
    " there. data.source.root=<folder> points elsewhere. data=openmoji works now."
)


@dataclass(frozen=True)
class Mscoco:
    """Pools `val2017` and `train2017`. `train_rows` of the latter, chosen by the hash of the file
    name, are listed (0: none), so that a shadow does not cost reading 118,000 files."""

    root: str = "data/mscoco"
    train_rows: int = 7000
    caption_choice: CaptionRule = "first"

    name: ClassVar[str] = "mscoco"
    licence: ClassVar[str] = "annotations CC BY 4.0, images under Flickr's terms"

    def items(self) -> Listing:
        """Both pools. Raises Missing when a pool is neither here nor on a reachable hub."""
        root = Path(self.root).expanduser()
        pairs = Pairs(self.name, root, self.caption_choice)
        self._add(pairs, VAL)
        if self.train_rows:
            taken = {coco_id(item.name) for item in pairs.items}
            self._add(pairs, TRAIN, taken)
        return pairs.listing()

    def downloads(self) -> str:
        """What `items` would fetch, or ""."""
        pools = (VAL, TRAIN) if self.train_rows else (VAL,)
        wanted = [MIRRORS[pool] for pool in pools if not self._local(pool)]
        wanted = [mirror for mirror in wanted if not cached(mirror)]
        if not wanted:
            return ""
        what = " and ".join(str(mirror) for mirror in wanted)
        return absent(self.name, what, self.licence, self._advice())

    def _advice(self) -> str:
        return ADVICE.format(root=self.root)

    def _local(self, pool: str) -> bool:
        root = Path(self.root).expanduser()
        annotation = root / "annotations" / f"captions_{pool}.json"
        return annotation.is_file() or bool(parquet_files(root / pool))

    def _add(self, pairs: Pairs, pool: str, taken: set[int | str] | None = None) -> None:
        folder = pairs.root / pool
        files = parquet_files(folder)
        if not files and self._local(pool):
            self._add_annotated(pairs, pool)
            return
        files = files or fetch(MIRRORS[pool], self._advice())
        excluded = set() if taken is None else taken

        before = len(pairs.items)
        add_tables(pairs, files, COLUMNS[pool], pool, lambda name: coco_id(name) not in excluded)
        if pool == TRAIN:
            listed = sorted(pairs.items[before:], key=lambda item: _order(item.name))
            pairs.items[before:] = listed[: self.train_rows]

    def _add_annotated(self, pairs: Pairs, pool: str) -> None:
        path = pairs.root / "annotations" / f"captions_{pool}.json"
        captions = read_coco(path)
        if not (pairs.root / pool).is_dir():
            raise Missing(
                f"{path} is there, but the folder {pool} that belongs to it is not."
                f" {self._advice()}"
            )
        names = list(captions)
        if pool == TRAIN:
            names = sorted(names, key=_order)[: self.train_rows]
        for name in tracked(names, f"listing {pool}"):
            pairs.add(pairs.root / pool / name, captions[name], pool)


def read_coco(path: Path) -> dict[str, list[str]]:
    """Captions by file name, in the order of their annotation ids.

    Raises MiaError when the file is no COCO caption file.
    """
    try:
        read = json.loads(decode_text(read_file(path)))
        names = {image["id"]: str(image["file_name"]) for image in read["images"]}
        captions: dict[str, list[str]] = {name: [] for name in names.values()}
        for note in sorted(read["annotations"], key=lambda note: note["id"]):
            if note["image_id"] in names:
                captions[names[note["image_id"]]].append(note["caption"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MiaError(
            f"{path} is no COCO caption file ({error!r}): it needs images (id, file_name) and"
            " annotations (id, image_id, caption). Unpack annotations_trainval2017.zip again."
        ) from error
    return captions


def coco_id(name: str) -> int | str:
    """The image's number in COCO, which its names of 2014 and 2017 share; else the name."""
    digits = re.search(r"(\d{12})(\.\w+)?$", name)
    return int(digits.group(1)) if digits else name


def _order(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
