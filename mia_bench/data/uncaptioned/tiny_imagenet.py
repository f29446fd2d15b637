"""Tiny ImageNet: 100,000 pictures of 64 px in 200 classes for training, 10,000 for validation.

The folder `tiny-imagenet-200` of its authors is read, also where somebody has sorted the pictures
of `val` by class, and the hub's parquet files whose names begin with train and val. The order is
that of classes, then of file names, which is torchvision's `ImageFolder`'s: the arrays of published
splits (SecMI, PIA) count in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mia_bench.data.readers.picture_folder import is_picture
from mia_bench.data.source import Listing
from mia_bench.data.uncaptioned.official import (
    Picture,
    file_pictures,
    official_listing,
    table_pictures,
    tables_of,
)
from mia_bench.utils.errors import Missing

NAME = "tiny_imagenet"
ROWS = {"train": 100_000, "val": 10_000}
FOLDER = "tiny-imagenet-200"


@dataclass(frozen=True)
class TinyImageNet:
    """Pools `train` and `val`; the pictures of `test`, whose labels were kept back, are left out.

    Args:
        root: `tiny-imagenet-200`, the folder it lies in, or one with parquet files.
        complete: refuse files that hold fewer pictures than the official ones.
    """

    root: str
    complete: bool = True
    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "ImageNet's terms: non-commercial research and education"

    def items(self) -> Listing:
        """Both pools. Raises Missing without files, MiaError where pictures are lacking."""
        root = Path(self.root).expanduser()
        pools = {pool: self._pictures(root, pool) for pool in ROWS}
        return official_listing(NAME, pools, ROWS if self.complete else None)

    def _pictures(self, root: Path, pool: str) -> Iterable[Picture]:
        for base in (root / FOLDER, root):
            # both levels are sorted: the class first, as ImageFolder sorts
            files = [path for path in sorted((base / pool).rglob("*")) if is_picture(path)]
            if files:
                return file_pictures(base, files)
        if tables := tables_of(root, [pool]):
            return table_pictures(pool, tables)
        raise Missing(
            f"data={NAME} looks for {FOLDER}/{pool} (http://cs231n.stanford.edu/{FOLDER}.zip), or "
            f"for {pool}*.parquet of the hub (zh-plus/tiny-imagenet), in {root}. "
            "data.source.root=<folder> points elsewhere. data=openmoji works now."
        )
