"""STL-10 (Coates et al. 2011): pictures of 96 px, 100,000 of them unlabelled, without captions.

The binary version has planes of red, green and blue, each column after column. The hub's parquet
files are called train, test and unlabeled (or unsupervised). Published splits (SecMI) count in
the unlabelled part, or in the part for training: `part` says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from mia_bench.data.source import Listing
from mia_bench.data.uncaptioned.official import (
    Picture,
    official_listing,
    table_pictures,
    tables_of,
)
from mia_bench.utils.errors import MiaError, Missing

NAME = "stl10"
ROWS = {"train": 5_000, "test": 8_000, "unlabeled": 100_000}
TABLES = {"unlabeled": ("unlabeled", "unsupervised")}
"""How the names of the hub's files begin, where it is not with the part's."""
SIDE_PIXELS = 96
PICTURE_BYTES = 3 * SIDE_PIXELS**2


@dataclass(frozen=True)
class Stl10:
    """Pools `part` and `test`.

    Args:
        root: a folder with the files of either version, at any depth.
        part: what members and non-members are drawn from.
        complete: refuse files that hold fewer pictures than the official ones.
    """

    root: str
    part: Literal["unlabeled", "train"] = "unlabeled"
    complete: bool = True
    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "ImageNet's terms: non-commercial research and education"

    def items(self) -> Listing:
        """Both pools. Raises Missing without files, MiaError for files that are not STL-10's."""
        root = Path(self.root).expanduser()
        pools = {pool: self._pictures(root, pool) for pool in (self.part, "test")}
        return official_listing(NAME, pools, ROWS if self.complete else None)

    def _pictures(self, root: Path, pool: str) -> Iterable[Picture]:
        if binary := sorted(root.rglob(f"{pool}_X.bin")):
            return _records(binary[0], pool)
        if tables := tables_of(root, TABLES.get(pool, (pool,))):
            return table_pictures(pool, tables)
        raise Missing(
            f"data={NAME} looks for {pool}_X.bin of the binary version "
            f"(https://cs.stanford.edu/~acoates/stl10/), or for {pool}*.parquet, in {root}. "
            "data.source.root=<folder> points elsewhere. data=openmoji works now."
        )


def _records(path: Path, pool: str) -> Iterator[Picture]:
    """Pictures of a binary file. Raises MiaError where it is truncated."""
    size = path.stat().st_size
    if not size or size % PICTURE_BYTES:
        raise MiaError(
            f"{path} has {size:,} bytes, which are no whole pictures of {PICTURE_BYTES:,}: it is "
            "truncated, or not of STL-10. Fetch it again."
        )
    with path.open("rb") as file:
        for row in range(size // PICTURE_BYTES):
            data = file.read(PICTURE_BYTES)
            yield Picture(f"{pool}/{row:06d}", data, partial(_load, path, row * PICTURE_BYTES))


def _load(path: Path, begin: int, _: int) -> Image.Image:
    with path.open("rb") as file:
        file.seek(begin)
        planes = np.frombuffer(file.read(PICTURE_BYTES), np.uint8)
    # channel, column, row
    return Image.fromarray(planes.reshape(3, SIDE_PIXELS, SIDE_PIXELS).transpose(2, 1, 0).copy())
