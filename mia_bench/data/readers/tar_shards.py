"""Tar shards of WebDataset, as img2dataset writes them: 000000000.jpg beside .txt and .json.

Files of one key (the name up to its first dot) are one sample. Nothing is unpacked: a picture is
read from its place in the archive, and names in the archive are never paths.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mia_bench.data.pictures.image_file import EXTENSIONS, OPTIONAL_EXTENSIONS, decode
from mia_bench.data.readers.text_file import decode_text

MAX_PICTURE_BYTES = 256 << 20  # of one picture in an archive; what is above it is no input
MAX_TEXT_BYTES = 16 << 20  # of one caption or its facts, as of a stored JSON file
PICTURE_SUFFIXES = EXTENSIONS | OPTIONAL_EXTENSIONS
CAPTION_SUFFIXES = (".txt", ".caption")
"""Endings of a caption, the first that is there."""


@dataclass
class Sample:
    """The files of one key: what reads its picture and bytes, captions, other facts, problem."""

    name: str
    load: Any = None
    raw: Any = None
    data: bytes = b""
    caption: Any = None
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def samples(path: Path) -> Iterator[Sample]:
    """Every sample of an archive, in its order.

    Raises ValueError where the archive ends or breaks off; what came before was yielded.
    """
    current: Sample | None = None
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                key, suffix = _key(member.name)
                if not member.isreg() or member.issparse() or not key:
                    continue
                if current is None or current.name != key:
                    if current is not None:
                        yield current
                    current = Sample(key)
                _take(current, archive, member, suffix, path)
    except (tarfile.TarError, OSError, EOFError) as error:
        if current is not None:
            yield current
        raise ValueError(f"the archive is broken: {error}") from error
    if current is not None:
        yield current


def _key(name: str) -> tuple[str, str]:
    """(folder and name up to the first dot, the rest in lower case)."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return (f"{folder}{slash}{stem}", f"{dot}{suffix}".lower()) if stem else ("", "")


def _take(
    sample: Sample, archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str, path: Path
) -> None:
    wanted = suffix in PICTURE_SUFFIXES or suffix in (*CAPTION_SUFFIXES, ".json")
    if not wanted:
        return
    most = MAX_PICTURE_BYTES if suffix in PICTURE_SUFFIXES else MAX_TEXT_BYTES
    if member.size > most:
        sample.problem = f"{member.size:,} bytes in one {suffix} file, at most {most:,}"
        return
    handle = archive.extractfile(member)
    data = b"" if handle is None else handle.read()
    if suffix in PICTURE_SUFFIXES:
        if sample.load is not None:
            sample.problem = f"several pictures of one name ({suffix} is the second)"
            return
        sample.data = data
        sample.load = partial(_load, path, member.offset_data, member.size)
        sample.raw = partial(_raw, path, member.offset_data, member.size)
        return
    try:
        text = decode_text(data)
        if suffix == ".json":
            read = json.loads(text)
            sample.facts = read if isinstance(read, dict) else {}
        elif suffix == CAPTION_SUFFIXES[0] or sample.caption is None:
            sample.caption = text
    except (ValueError, RecursionError) as error:
        sample.problem = f"its {suffix} cannot be read: {error}"


def _load(path: Path, offset: int, size: int, _: int = 0) -> Image.Image:
    return decode(_raw(path, offset, size))


def _raw(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as archive:
        archive.seek(offset)
        return archive.read(size)
