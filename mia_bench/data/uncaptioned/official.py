"""Pictures in the official order of a data set: positions of published splits count in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from mia_bench.data.pictures.image_file import read_picture
from mia_bench.data.readers.parquet_rows import (
    Columns,
    open_tables,
    picture_bytes,
    picture_readers,
)
from mia_bench.data.source import Item, Listing, ordered_listing, sample_id
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class Picture:
    """One picture of a distribution; `load` and `raw` are those of `Item`."""

    name: str
    data: bytes
    load: Callable[[int], Image.Image]
    raw: Callable[[], bytes] | None = None


def official_listing(
    source: str,
    pools: Mapping[str, Iterable[Picture]],
    counts: Mapping[str, int] | None,
) -> Listing:
    """Every picture, pool after pool.

    Args:
        counts: pictures that each pool has in the official files; None: any number will do.

    Raises MiaError where a pool has another number of pictures.
    """
    items: list[Item] = []
    for pool, pictures in pools.items():
        before = len(items)
        items += [
            Item(sample_id(source, p.data), "", p.name, p.load, pool, raw=p.raw) for p in pictures
        ]
        found = len(items) - before
        if counts is not None and found != counts[pool]:
            raise MiaError(
                f"data={source} has {found:,} {pool} pictures, and the official files "
                f"{counts[pool]:,}: fetch them again, or use a part of them with "
                "data.source.complete=false."
            )
    return ordered_listing(items)


def file_pictures(root: Path, files: Sequence[Path]) -> Iterator[Picture]:
    """Picture files in the order given, called by their path below `root`."""
    for path in files:
        name = path.relative_to(root).as_posix()
        yield Picture(name, path.read_bytes(), partial(read_picture, path), path.read_bytes)


def table_pictures(pool: str, files: Sequence[Path]) -> Iterator[Picture]:
    """Pictures of parquet files as the hub writes them, row by row, called by their place.

    Raises MiaError for a file that is no parquet, or that holds no pictures.
    """
    table = open_tables(files)
    column = Columns().fitted(table.column_names).image
    if column not in table.column_names:
        raise MiaError(
            f"{files[0]} has the columns {', '.join(table.column_names)}: a column of pictures "
            "(image) is needed."
        )
    for row, record in enumerate(table.select_columns([column])):
        load, raw = picture_readers(table, row, column)
        try:
            data = picture_bytes(record[column])
        except ValueError as error:
            raise MiaError(f"{files[0]}: row {row}: {error}.") from error
        yield Picture(f"{pool}/{row:06d}", data, load, raw)


def tables_of(root: Path, beginnings: Sequence[str]) -> list[Path]:
    """Parquet files below `root` whose names begin with a pool's, as the hub names them."""
    files = sorted(root.rglob("*.parquet")) if root.is_dir() else []
    return [path for path in files if path.name.startswith(tuple(beginnings))]
