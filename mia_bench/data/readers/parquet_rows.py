"""Pairs out of parquet files and of data sets that `datasets` saved: pictures as bytes, or as the
hub's {bytes, path}, with captions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mia_bench.data.pictures.image_file import decode
from mia_bench.data.readers.caption_fields import NoCaptionError, candidates, choose
from mia_bench.data.readers.collector import Facts, Pairs
from mia_bench.data.readers.membership import COLUMNS, SPLIT
from mia_bench.data.readers.text_file import decode_text, read_file
from mia_bench.data.source import Item, sample_id
from mia_bench.storage.files import regular_file
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import tracked

USUAL_IMAGE, USUAL_CAPTIONS = "image", ("text", "caption")
OTHER_IMAGES = ("jpg", "jpeg", "png", "webp", "img", "picture", "image_bytes")  # img2dataset: jpg
OTHER_CAPTIONS = ("prompt", "captions", "txt", "sentence", "description")
SAVED_DATASET, SAVED_SPLITS = "state.json", "dataset_dict.json"
"""Files that `datasets` saves in the folder of a data set, and of one in splits."""


@dataclass(frozen=True)
class Columns:
    """Where a table keeps the picture, its captions (several columns, or lists) and its name."""

    image: str = "image"
    caption: tuple[str, ...] = USUAL_CAPTIONS
    file_name: tuple[str, ...] = ("file_name", "filename")

    def fitted(self, present: Sequence[str]) -> Columns:
        """With the other usual names where those that nobody chose are not `present`."""
        image, caption = self.image, self.caption
        if image == USUAL_IMAGE and image not in present:
            image = next((name for name in OTHER_IMAGES if name in present), image)
        if caption == USUAL_CAPTIONS and not set(caption) & set(present):
            caption = next(((name,) for name in OTHER_CAPTIONS if name in present), caption)
        return replace(self, image=image, caption=caption)


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
    stem = files[0].stem if len(files) == 1 else files[0].parent.name
    add_table(pairs, open_tables(files), columns, stem, str(files[0]), pool, keep)


def add_table(
    pairs: Pairs,
    table: Any,
    columns: Columns,
    stem: str,
    where: str,
    pool: str = "",
    keep: Callable[[str], bool] | None = None,
    split: str = "",
) -> None:
    """Every row of an open table.

    Args:
        stem: begins the name of a row where no column names it.
        where: the table, in messages.
        split: of a saved data set, which may say who is a member.
    """
    columns = columns.fitted(table.column_names)
    pairs.columns.update(dict.fromkeys(table.column_names))
    present = [name for name in columns.caption if name in table.column_names]
    if columns.image not in table.column_names or not present:
        raise MiaError(
            f"{where} has the columns {', '.join(table.column_names)}: a picture column"
            f" '{columns.image}' and one of {', '.join(columns.caption)} are needed. Name yours"
            " with data.source.image=... and data.source.caption=..."
        )
    names = _names(table, columns, stem)
    facts = _facts(pairs, table, split)
    pairs.rows_in_order &= names == sorted(names)
    texts: dict[str, list[str]] = {}
    first: dict[str, tuple[str, int]] = {}
    classes = {c: _values(table, c) for c in present if _is_class(table, c)}
    records = table.select_columns([columns.image, *present])
    for row, record in enumerate(tracked(records, "listing pictures")):
        name = names[row]
        if keep is not None and not keep(name):
            continue
        load, raw = picture_readers(table, row, columns.image)
        try:
            data = picture_bytes(record[columns.image])
            captions = candidates(
                _several([classes[c][row] if c in classes else record[c] for c in present])
            )
        except NoCaptionError as error:
            pairs.skip_captionless(
                *(name, error, sample_id(pairs.source, data), load, pool, facts[row], raw)
            )
            continue
        except ValueError as error:
            pairs.skip(name, str(error), broken=True)
            continue
        id_ = sample_id(pairs.source, data)
        texts.setdefault(id_, []).extend(captions)
        pairs.rows_in_order &= id_ not in first
        first.setdefault(id_, (name, row))
        if facts[row]:
            pairs.facts.setdefault(id_, []).append(facts[row])
    for id_, (name, row) in first.items():
        load, raw = picture_readers(table, row, columns.image)
        text = choose(texts[id_], pairs.rule, id_)
        pairs.keep(Item(id_, text, name, load, pool, raw=raw))


def _facts(pairs: Pairs, table: Any, split: str) -> list[Facts]:
    """What each row says in the columns of membership; the split is one where no column is."""
    wanted = COLUMNS if pairs.member is None else (pairs.member,)
    values = {name: _values(table, name) for name in wanted if name in table.column_names}
    if split and SPLIT in wanted and SPLIT not in values:
        values[SPLIT] = [split] * len(table)
        pairs.columns.setdefault(SPLIT)
    return [{name: [column[row]] for name, column in values.items()} for row in range(len(table))]


def _is_class(table: Any, name: str) -> bool:
    return hasattr(getattr(table, "features", {}).get(name), "int2str")


def _values(table: Any, name: str) -> list[Any]:
    """A column; the hub's class labels, which are numbers with names, by their names."""
    if not _is_class(table, name):
        return list(table[name])
    return [_class_name(table.features[name], value) for value in table[name]]


def _class_name(feature: Any, value: Any) -> Any:
    """None for what is no class: -1 is how the hub says that a label is kept back."""
    return feature.int2str(value) if isinstance(value, int) and value >= 0 else None


# --- data sets that `datasets` saved --------------------------------------------------------------


def saved_folders(files: Sequence[Path]) -> list[Path]:
    """Folders of saved data sets among `files`, the outermost of nested ones."""
    marks = {path.parent for path in files if path.name in (SAVED_DATASET, SAVED_SPLITS)}
    return sorted(
        f for f in marks if not any(f != other and f.is_relative_to(other) for other in marks)
    )


def add_saved(pairs: Pairs, folder: Path, captions: tuple[str, ...], pool: str = "") -> None:
    """The rows of a folder that `datasets.save_to_disk` wrote, in splits or not.

    Raises MiaError for a folder that cannot be read, or that names files elsewhere.
    """
    import datasets

    for state in sorted(folder.rglob(SAVED_DATASET)):
        _check_state(state)
    try:
        read = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise MiaError(
            f"{folder} cannot be read as a data set that `datasets` saved: "
            f"{str(error).strip().partition(chr(10))[0]}. Save it again, or remove it."
        ) from error
    splits = read if isinstance(read, datasets.DatasetDict) else {"": read}
    pairs.rows_in_order &= list(splits) == sorted(splits)
    for split, table in splits.items():
        inside = "" if folder == pairs.root else pairs.name(folder)
        stem = "/".join(filter(None, (inside, split))) or folder.name
        add_table(
            pairs,
            _undecoded(table),
            Columns(caption=captions),
            stem,
            str(folder),
            pool,
            split=split,
        )


def _check_state(path: Path) -> None:
    """The files that a saved data set consists of lie in its folder."""
    try:
        state = json.loads(decode_text(read_file(path)))
        names = [str(file["filename"]) for file in state["_data_files"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MiaError(f"{path} is damaged: {error!r}. Save the data set again.") from error
    outside = [n for n in names if Path(n).name != n or (path.parent / n).is_symlink()]
    if outside:
        raise MiaError(f"{path} names files out of its folder, for example {outside[0]!r}.")


def with_pictures(files: Sequence[Path]) -> bool:
    """The first of `files` has a column of pictures: img2dataset leaves a parquet log beside each
    shard of other files, and tables of captions have none."""
    from pyarrow import ArrowException, parquet

    if not files:
        return False
    try:
        names = parquet.read_schema(regular_file(files[0])).names
    except (OSError, ArrowException):
        return True  # where it is opened, the message says what is wrong
    return bool({USUAL_IMAGE, *OTHER_IMAGES} & set(names))


def open_tables(files: Sequence[Path]) -> Any:
    """One memory-mapped table: rows are read when they are needed. Raises MiaError for a file that
    is no parquet."""
    import datasets

    try:
        table = datasets.Dataset.from_parquet([str(regular_file(path)) for path in files])
    except Exception as error:
        raise MiaError(
            f"{', '.join(path.name for path in files[:3])} in {files[0].parent} cannot be read as"
            f" parquet: {str(error.__cause__ or error).strip().partition(chr(10))[0]}. Download it"
            " again, or remove it."
        ) from error
    return _undecoded(table)


def _undecoded(table: Any) -> Any:
    """The table with encoded pictures instead of decoded ones."""
    import datasets

    for name, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, datasets.Image(decode=False))
    return table


def _names(table: Any, columns: Columns, stem: str) -> list[str]:
    for column in columns.file_name:
        if column in table.column_names:
            return [str(name) for name in table[column]]
    return [f"{stem}/{row:07d}" for row in range(len(table))]


def _several(values: Sequence[Any]) -> Any:
    """One list of the captions of several columns; one column is passed on as it is."""
    if len(values) == 1:
        return values[0]
    flat: list[Any] = []
    for value in values:
        flat.extend(value if isinstance(value, list) else [value])
    return flat


def picture_bytes(value: Any) -> bytes:
    """The encoded picture in a cell. Raises ValueError where it holds none."""
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if isinstance(data, bytes):
        return data
    raise ValueError("the picture is not in the table" if data is None else "holds no picture")


def picture_readers(
    table: Any, row: int, column: str
) -> tuple[Callable[[int], Image.Image], Callable[[], bytes]]:
    """What decodes the picture of a row, and what reads its bytes."""
    return partial(_load, table, row, column), partial(_raw, table, row, column)


def _load(table: Any, row: int, column: str, _: int) -> Image.Image:
    return decode(_raw(table, row, column))


def _raw(table: Any, row: int, column: str) -> bytes:
    return picture_bytes(table[row][column])
