"""Pairs out of parquet files: pictures as bytes, or as the hub's {bytes, path}, with captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mia_bench.data.readers.caption_fields import candidates, choose
from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.image_file import decode
from mia_bench.data.source import Item, sample_id
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class Columns:
    """Where a table keeps the picture, its captions (several columns, or lists) and its name."""

    image: str = "image"
    caption: tuple[str, ...] = ("text", "caption")
    file_name: tuple[str, ...] = ("file_name", "filename")


def add_tables(
    pairs: Pairs,
    files: Sequence[Path],
    columns: Columns,
    pool: str = "",
    keep: Callable[[str], bool] | None = None,
) -> None:
    """Every row of the parquet `files`; rows with one picture are one pair with several captions.

    `keep(name)` may leave rows out.

    Raises MiaError for a file that is no parquet, or without the columns.
    """
    table = _open(files)
    present = [name for name in columns.caption if name in table.column_names]
    if columns.image not in table.column_names or not present:
        raise MiaError(
            f"{files[0]} has the columns {', '.join(table.column_names)}: a picture column"
            f" '{columns.image}' and one of {', '.join(columns.caption)} are needed. Name yours"
            " with data.source.image=... and data.source.caption=..."
        )
    names = _names(table, columns, files)
    texts: dict[str, list[str]] = {}
    first: dict[str, tuple[str, int]] = {}
    for row, record in enumerate(table.select_columns([columns.image, *present])):
        name = names[row]
        if keep is not None and not keep(name):
            continue
        try:
            data = _bytes(record[columns.image])
            captions = candidates(_several([record[column] for column in present]))
        except ValueError as error:
            pairs.skip(name, str(error), broken=True)
            continue
        id_ = sample_id(pairs.source, data)
        texts.setdefault(id_, []).extend(captions)
        first.setdefault(id_, (name, row))
    for id_, (name, row) in first.items():
        load = partial(_load, table, row, columns.image)
        pairs.items.append(Item(id_, choose(texts[id_], pairs.rule, id_), name, load, pool))


def _open(files: Sequence[Path]) -> Any:
    """One memory-mapped table: rows are read when they are needed."""
    import datasets

    try:
        table = datasets.Dataset.from_parquet([str(path) for path in files])
    except Exception as error:
        raise MiaError(
            f"{', '.join(path.name for path in files[:3])} in {files[0].parent} cannot be read as"
            f" parquet: {str(error.__cause__ or error).strip().partition(chr(10))[0]}. Download it"
            " again, or remove it."
        ) from error
    for name, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
    return table


def _names(table: Any, columns: Columns, files: Sequence[Path]) -> list[str]:
    for column in columns.file_name:
        if column in table.column_names:
            return [str(name) for name in table[column]]
    stem = files[0].stem if len(files) == 1 else files[0].parent.name
    return [f"{stem}/{row:07d}" for row in range(len(table))]


def _several(values: Sequence[Any]) -> Any:
    """One list of the captions of several columns; one column is passed on as it is."""
    if len(values) == 1:
        return values[0]
    flat: list[Any] = []
    for value in values:
        flat.extend(value if isinstance(value, list) else [value])
    return flat


def _bytes(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if isinstance(data, bytes):
        return data
    raise ValueError("the picture is not in the table" if data is None else "holds no picture")


def _load(table: Any, row: int, column: str, _: int) -> Image.Image:
    return decode(_bytes(table[row][column]))
