"""A folder of pictures with captions, in the layout of the hub's `imagefolder`.

Captions come from `metadata.jsonl` or `metadata.csv` (`file_name` relative to its folder, and a
caption column), in any folder; several lines of one picture are several captions. A picture without
a line takes the text file of its own name beside it (`cat.png`, `cat.txt`; one caption a line).
Links out of the folder are refused.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mia_bench.data.readers.caption_fields import CaptionRule
from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.image_file import EXTENSIONS
from mia_bench.data.source import Listing
from mia_bench.utils.errors import Missing

METADATA = ("metadata.jsonl", "metadata.csv")
CAPTIONS = ("text", "caption", "captions", "prompt")


@dataclass(frozen=True)
class ImageFolder:
    """`root` is the folder; `caption` the column of the metadata (None: text, caption, prompt)."""

    root: str
    caption: str | None = None
    caption_choice: CaptionRule = "first"
    name: str = "imagefolder"
    licence: str = "yours to know"

    def items(self) -> Listing:
        """Every picture with a caption. Raises Missing when the folder is not there."""
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise Missing(
                f"data={self.name}: {root} is not a folder. Give data.source.root=<folder> with"
                " pictures and metadata.jsonl (file_name and text), metadata.csv, or one .txt"
                " beside each picture. data=openmoji works without a folder."
            )
        pairs = Pairs(self.name, root, self.caption_choice)
        add_folder(pairs, root, (self.caption,) if self.caption else CAPTIONS)
        return pairs.listing()


def add_folder(
    pairs: Pairs, folder: Path, columns: tuple[str, ...] = CAPTIONS, pool: str = ""
) -> None:
    """Every picture under `folder`, which lies in the root of `pairs`."""
    files = sorted(_walk(folder))
    captions: dict[Path, list[Any]] = {}
    for path in files:
        if path.name in METADATA:
            for name, value in _metadata(pairs, path, columns):
                captions.setdefault(path.parent / name, []).append(value)
    present, sidecars = set(files), set()
    for path in files:
        if path in captions or path.suffix.lower() in EXTENSIONS:
            text = path.with_suffix(".txt")
            if path not in captions and text in present:
                sidecars.add(text)
            pairs.add(path, _caption(path, captions, text if text in present else None), pool)
    for path in captions.keys() - present:
        pairs.add(path, captions[path], pool)  # says that it is missing, or where it leads
    for path in present - captions.keys() - sidecars:
        if path.suffix.lower() not in EXTENSIONS and path.name not in METADATA:
            pairs.skip(pairs.name(path), "not a picture")


def _walk(folder: Path) -> Iterator[Path]:
    """Files under `folder` and links to files; linked folders are not entered."""
    for path in folder.rglob("*"):
        if path.is_file() or path.is_symlink():
            yield path


def _caption(path: Path, captions: Mapping[Path, list[Any]], text: Path | None) -> Any:
    if path in captions:
        flat: list[Any] = []
        for value in captions[path]:
            flat.extend(value if isinstance(value, list) else [value])
        return flat
    if text is None:
        return None
    try:
        data = text.read_bytes()
    except OSError:
        return None
    return [line for line in data.splitlines() if line.strip()] or ""


def _metadata(pairs: Pairs, path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """(file name relative to the metadata, caption) of every usable line."""
    read = _json_lines if path.suffix == ".jsonl" else _csv_rows
    for line, row in read(pairs, path):
        name = row.get("file_name")
        where = f"{pairs.name(path)}:{line}"
        if not isinstance(name, str) or not name or "\0" in name:
            pairs.skip(where, "no file_name", broken=True)
        elif PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            pairs.skip(where, "file_name leads out of the folder", broken=True)
        else:
            yield name, next((row[c] for c in columns if row.get(c) is not None), None)


def _json_lines(pairs: Pairs, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig"))
            if not isinstance(row, dict):
                raise ValueError("not an object")
        except UnicodeDecodeError:
            pairs.skip(f"{pairs.name(path)}:{number}", "the line is not UTF-8", broken=True)
        except (ValueError, RecursionError) as error:
            pairs.skip(f"{pairs.name(path)}:{number}", f"the line is no JSON: {error}", broken=True)
        else:
            yield number, row


def _csv_rows(pairs: Pairs, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            pairs.skip(f"{pairs.name(path)}:{rows.line_num}", f"no CSV: {error}", broken=True)
            continue
        if any("\ufffd" in value for value in row.values() if isinstance(value, str)):
            pairs.skip(f"{pairs.name(path)}:{rows.line_num}", "the line is not UTF-8", broken=True)
        else:
            yield rows.line_num, row
