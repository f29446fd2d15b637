"""Flickr30k and Flickr8k: 31,783 or 8,092 photographs of people with five captions each.

Under `root`: the pictures (in any subfolder) and one of results_20130124.token, results.csv or
dataset_flickr30k.json (Flickr30k), Flickr8k.token.txt, captions.txt or dataset_flickr8k.json
(Flickr8k); or parquet files; else a parquet mirror of Flickr30k on the hub. The images are on
Flickr under their own terms; the sets are for research.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mia_bench.data.parquet import parquet_files
from mia_bench.data.readers.caption_fields import CaptionRule
from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.hub import HubFiles, absent, cached, fetch
from mia_bench.data.readers.parquet_rows import Columns, add_tables
from mia_bench.data.readers.tables import csv_lines
from mia_bench.data.readers.text_file import decode_text, read_file
from mia_bench.data.source import Listing
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import tracked

ANNOTATIONS = (
    *("results_20130124.token", "results.csv", "dataset_flickr30k.json"),
    *("Flickr8k.token.txt", "captions.txt", "dataset_flickr8k.json"),
)
MIRROR = HubFiles(
    "lmms-lab/flickr30k", "test", "0d6d9049be2e08261be315e731e0d8054c1d1c03", None, "4.4 GB"
)
COLUMNS = Columns("image", ("caption", "captions", "text"), ("filename", "file_name"))


@dataclass(frozen=True)
class Flickr:
    """`root` is the folder; `caption_choice` picks one of the five captions."""

    root: str = "data/flickr"
    caption_choice: CaptionRule = "first"

    name: ClassVar[str] = "flickr"
    licence: ClassVar[str] = "research use; images under Flickr's terms"

    def items(self) -> Listing:
        """Every captioned picture. Raises Missing when they are neither here nor to be had."""
        root = Path(self.root).expanduser()
        pairs = Pairs(self.name, root, self.caption_choice)
        annotation = _annotation(root)
        if annotation is None:
            files = parquet_files(root) or fetch(MIRROR, self._advice())
            add_tables(pairs, files, COLUMNS)
            return pairs.listing()
        captions: dict[str, list[Any]] = {}
        for name, caption in _read(pairs, annotation):
            captions.setdefault(name, []).append(caption)
        where = {path.name: path for path in sorted(root.rglob("*.jpg"), reverse=True)}
        for name, texts in tracked(captions.items(), "listing pictures"):
            pairs.add(where.get(name, root / Path(name).name), texts)
        return pairs.listing()

    def downloads(self) -> str:
        """What `items` would fetch, or ""."""
        root = Path(self.root).expanduser()
        if _annotation(root) or parquet_files(root) or cached(MIRROR):
            return ""
        return absent(self.name, str(MIRROR), self.licence, self._advice())

    def _advice(self) -> str:
        return (
            f"data=flickr looks in {self.root} for {', '.join(ANNOTATIONS)} (one of them) with the"
            f" .jpg files, or for parquet files ({MIRROR.command()} --local-dir {self.root});"
            " data.source.root=<folder> points elsewhere. data=openmoji works now."
        )


def _annotation(root: Path) -> Path | None:
    files = (path for name in ANNOTATIONS for path in sorted(root.rglob(name)))
    return next(files, None) if root.is_dir() else None


def _read(pairs: Pairs, path: Path) -> Iterator[tuple[str, Any]]:
    """(file name, caption) in the order of the file; lines that are none are skipped by number."""
    if path.suffix == ".json":
        yield from _karpathy(path)
        return
    text = decode_text(read_file(path), errors="replace")
    first, _, _ = text.partition("\n")
    if path.name == "captions.txt" and "," in first and "\t" not in first:
        yield from _comma_separated(pairs, path)
        return
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if path.suffix == ".csv":  # image_name| comment_number| comment
            parts = [part.strip() for part in line.split("|", 2)]
            if number == 1 or not line:
                continue
            name, caption = (parts[0], parts[2]) if len(parts) == 3 else ("", "")
        else:  # 1000092795.jpg#0<tab>caption
            head, _, caption = line.partition("\t")
            name = head.partition("#")[0]
        if not line:
            continue
        if not name or not caption or "\ufffd" in line:
            pairs.skip(f"{path.name}:{number}", "the line is no caption", broken=True)
        else:
            yield name, caption


def _comma_separated(pairs: Pairs, path: Path) -> Iterator[tuple[str, Any]]:
    """image,caption with quotes where a caption has commas: Flickr8k as Kaggle has it."""
    for line in csv_lines(read_file(path), ","):
        row = line.row or {}
        name = str(row.get("image") or "").partition("#")[0]
        if name and row.get("caption"):
            yield name, row["caption"]
        else:
            reason = line.problem or "the line is no caption"
            pairs.skip(f"{path.name}:{line.number}", reason, broken=True)


def _karpathy(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        for image in json.loads(decode_text(read_file(path)))["images"]:
            for sentence in image["sentences"]:
                yield str(image["filename"]), sentence["raw"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MiaError(
            f"{path} is not Karpathy's file ({error!r}): it needs images with filename and"
            " sentences (raw). Download it again."
        ) from error
