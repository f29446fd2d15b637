"""Pictures in a folder with captions in tables or text files, in saved data sets or archives.

Captions come from `metadata.jsonl`, `.csv`, `.tsv`, `.json` or `.parquet` in any folder (file names
relative to it); several lines of one picture are several captions. A picture without a line takes
the text file of its own name beside it (`cat.png`, `cat.txt` or `cat.caption`; one caption a line),
then a table `captions.json`, `.jsonl`, `.csv` or `.tsv`. Archives of WebDataset and folders that
`datasets` saved are read where they lie. Links out of the folder are refused unless they are
allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mia_bench.data.pictures.image_file import EXTENSIONS, OPTIONAL_EXTENSIONS
from mia_bench.data.readers.collector import Facts, Pairs
from mia_bench.data.readers.parquet_rows import add_saved, saved_folders
from mia_bench.data.readers.tables import read_lines
from mia_bench.data.readers.tar_shards import Sample, samples
from mia_bench.data.readers.text_file import decode_text, text_lines
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import tracked

CAPTIONS = ("text", "caption", "captions", "prompt")
FILE_NAMES = ("file_name", "image", "filename", "file", "image_path", "path")
"""Columns of a table that name the picture, the first that is there."""
METADATA = tuple(f"metadata.{kind}" for kind in ("jsonl", "csv", "tsv", "json", "parquet"))
CAPTION_TABLES = tuple(f"captions.{kind}" for kind in ("json", "jsonl", "csv", "tsv"))
TABLES = (*METADATA, *CAPTION_TABLES)
LISTING = "listing pictures"
SIDECARS = (".txt", ".caption")
"""Endings of text files beside a picture, the first that is there."""
COMPRESSED_ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass
class FolderTables:
    """What the tables of a folder say of each picture, by its path."""

    captions: dict[Path, list[Any]] = field(default_factory=dict)
    facts: dict[Path, dict[str, list[Any]]] = field(default_factory=dict)
    """Values of the columns that may say who is a member."""


def add_folder(
    pairs: Pairs, folder: Path, columns: tuple[str, ...] = CAPTIONS, pool: str = ""
) -> None:
    """Every picture under `folder`, which lies in the root of `pairs`.

    Raises MiaError for a table that cannot be read, or without the column of data.source.member.
    """
    files = sorted(walk(pairs, folder))
    present = set(files)
    saved = saved_folders(files)
    loose = [path for path in files if not any(path.is_relative_to(inside) for inside in saved)]
    for inside in saved:
        add_saved(pairs, inside, columns, pool)
    archives = [path for path in loose if path.suffix.lower() == ".tar"]
    for path in archives:
        _add_archive(pairs, path, columns, pool)
    packed = set(archives)
    _add_pictures(pairs, [path for path in loose if path not in packed], present, columns, pool)


def _add_pictures(
    pairs: Pairs, files: Sequence[Path], present: set[Path], columns: tuple[str, ...], pool: str
) -> None:
    first = _read_tables(pairs, files, METADATA, columns, present)
    late = _read_tables(pairs, files, CAPTION_TABLES, columns, present)
    texts = _sidecars(files)
    used = set()
    for path in tracked(files, LISTING, "file"):
        if path not in first.captions and not is_picture(path) and path not in late.captions:
            continue
        text = texts.get(path.with_suffix(""))
        if path in first.captions:
            caption: Any = _flat(first.captions[path])
        elif text is not None:
            used.add(text)
            caption = _text_captions(pairs, text)
        else:
            caption = _flat(late.captions[path]) if path in late.captions else None
        pairs.add(path, caption, pool, facts=_together(first.facts, late.facts, path))
    for table in (first, late):
        for path in table.captions.keys() - present:
            pairs.add(path, table.captions[path], pool)  # says that it is missing, or where it is
    named = first.captions.keys() | late.captions.keys() | used
    for path in set(files) - named:
        if not is_picture(path) and path.name.lower() not in TABLES:
            pairs.skip(pairs.name(path), _no_picture(path))


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS or path.suffix.lower() in OPTIONAL_EXTENSIONS


def _no_picture(path: Path) -> str:
    if path.name.lower().endswith(COMPRESSED_ARCHIVES):
        return "a compressed archive: unpack it to .tar"
    if path.is_dir():
        return "a linked folder: data.source.follow_links=true enters it"
    return "not a picture"


def walk(pairs: Pairs, folder: Path) -> Iterator[Path]:
    """Files under `folder`, and links; linked folders are entered where links are followed, each
    once. A folder that cannot be listed is a skip."""

    def unreadable(error: OSError) -> None:
        where = Path(error.filename) if error.filename else folder
        reason = f"the folder cannot be read: {error.strerror or error}"
        pairs.skip(pairs.name(where), reason, broken=True)

    entered: set[str] = set()
    for name, folders, files in os.walk(folder, onerror=unreadable, followlinks=pairs.follow_links):
        real = os.path.realpath(name)
        if pairs.follow_links and real in entered:  # a link back to a folder above, or a second one
            folders.clear()
            continue
        entered.add(real)
        for file in files:
            yield Path(name, file)
        for folder_name in set(folders) & set(TABLES):
            pairs.skip(pairs.name(Path(name, folder_name)), "a folder, and no table", broken=True)
        if not pairs.follow_links:
            yield from (path for path in (Path(name, f) for f in folders) if path.is_symlink())


def _sidecars(files: Sequence[Path]) -> dict[Path, Path]:
    """The text file of each name without its ending."""
    found: dict[Path, Path] = {}
    for ending in SIDECARS:
        for path in files:
            if path.suffix.lower() == ending:
                found.setdefault(path.with_suffix(""), path)
    return found


def _text_captions(pairs: Pairs, path: Path) -> Any:
    """Its lines that are not blank, "" where there are none, or its bytes, which are no text.

    None, and a skip, for a file that cannot be read or leads out of the folder.
    """
    try:
        data = pairs.inside(path).read_bytes()
    except ValueError as error:
        return pairs.skip(pairs.name(path), str(error), broken=True)
    except OSError as error:
        return pairs.skip(pairs.name(path), f"cannot be read: {error.strerror}", broken=True)
    try:
        lines = text_lines(decode_text(data))
    except ValueError:
        return data
    return [line for line in lines if line.strip()] or ""


def _flat(values: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        flat.extend(value if isinstance(value, list) else [value])
    return flat


# --- tables ---------------------------------------------------------------------------------------


def _read_tables(
    pairs: Pairs,
    files: Sequence[Path],
    names: Sequence[str],
    columns: tuple[str, ...],
    present: set[Path],
) -> FolderTables:
    """Every table of one of `names`; lines without use are skips with their number."""
    read = FolderTables()
    stems: dict[Path, Path] = {}
    for path in files:
        if is_picture(path):
            stems.setdefault(path.with_suffix(""), path)
    for path in files:
        if path.name.lower() not in names:
            continue
        for name, row in _named_rows(pairs, path):
            place = path.parent / name
            if place not in present and place in stems:  # a name without its ending
                place = stems[place]
            caption = next((row[c] for c in columns if row.get(c) is not None), None)
            read.captions.setdefault(place, []).append(caption)
            for column, values in pairs.facts_of(row).items():
                read.facts.setdefault(place, {}).setdefault(column, []).extend(values)
    return read


def _named_rows(pairs: Pairs, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(file name relative to the table, row) of every usable line.

    Raises MiaError for a table that cannot be read, or is a link out of the folder.
    """
    try:
        if pairs.leads_out(path):
            raise MiaError(
                f"{path} is a link that leads out of the folder: data.source.follow_links=true "
                "allows it, or put the table itself there."
            )
        for line in read_lines(path):
            where = f"{pairs.name(path)}:{line.number}"
            if line.row is None:
                pairs.skip(where, line.problem, broken=True)
                continue
            pairs.columns.update(dict.fromkeys(map(str, line.row)))
            name = next((line.row[c] for c in FILE_NAMES if line.row.get(c)), None)
            if not isinstance(name, str) or "\0" in name:
                pairs.skip(where, "no file_name", broken=True)
            elif (place := _inside(pairs, path.parent, name)) is None:
                pairs.skip(where, "file_name leads out of the folder", broken=True)
            else:
                yield place, line.row
    except ValueError as error:
        raise MiaError(f"{path} cannot be read: {error}. Repair or remove it.") from error


def _inside(pairs: Pairs, folder: Path, name: str) -> str | None:
    """`name` relative to the `folder` of its table, None where it leads out of the root: whole
    paths of this machine are taken, and backslashes where no file has one in its name."""
    if "\\" in name and not (folder / name).exists():
        name = name.replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() and path.is_relative_to(pairs.root.absolute()):
        path = PurePosixPath(os.path.relpath(path, folder.absolute()))
        return None if ".." in path.parts else str(path)
    return None if path.is_absolute() or ".." in path.parts else name


def _together(
    first: Mapping[Path, Facts], late: Mapping[Path, Facts], path: Path
) -> dict[str, list[Any]]:
    """What all tables say of the picture at `path`, in the columns of membership."""
    both: dict[str, list[Any]] = {}
    for facts in (first.get(path, {}), late.get(path, {})):
        for column, values in facts.items():
            both.setdefault(column, []).extend(values)
    return both


# --- archives -------------------------------------------------------------------------------------


def _add_archive(pairs: Pairs, path: Path, columns: tuple[str, ...], pool: str) -> None:
    """The samples of a tar file, one in memory at a time; one that breaks off gives those before
    the break."""
    for sample in tracked(_samples(pairs, path), f"{LISTING} of {path.name}", "sample"):
        pairs.columns.update(dict.fromkeys(map(str, sample.facts)))
        name = f"{pairs.name(path)}/{sample.name}"
        if sample.problem:
            pairs.skip(name, sample.problem, broken=True)
        elif sample.load is None:
            pairs.skip(name, "no picture")
        else:
            told = next((sample.facts[c] for c in columns if sample.facts.get(c)), None)
            lines = [line for line in text_lines(sample.caption or "") if line.strip()]
            facts = pairs.facts_of(sample.facts)
            pairs.add_bytes(name, sample.data, lines or told, sample.load, pool, facts, sample.raw)


def _samples(pairs: Pairs, path: Path) -> Iterator[Sample]:
    """Those that can be read, and a skip where the archive breaks off."""
    try:
        pairs.inside(path)
        yield from samples(path)
    except ValueError as error:
        pairs.skip(pairs.name(path), str(error), broken=True)
