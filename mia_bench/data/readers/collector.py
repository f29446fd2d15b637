"""Collecting pairs from files: what cannot be used is skipped with its name and the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mia_bench.data.readers.caption_fields import CaptionRule, candidates, choose
from mia_bench.data.readers.image_file import read_picture
from mia_bench.data.source import Item, Listing, Skip, listing, sample_id

Load = Callable[[Path, int], Image.Image]


@dataclass
class Pairs:
    """Items and skips of one source under `root`; names are paths relative to it."""

    source: str
    root: Path
    rule: CaptionRule = "first"
    items: list[Item] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)

    def add(self, path: Path, caption: Any, pool: str = "", load: Load = read_picture) -> None:
        """The picture at `path` with whatever its annotation holds; nothing is decoded."""
        name = self.name(path)
        try:
            texts = candidates(caption)
            data = self.inside(path).read_bytes()
        except ValueError as error:
            return self.skip(name, str(error), broken=True)
        except OSError as error:
            return self.skip(name, f"cannot be read: {error.strerror}", broken=True)
        id_ = sample_id(self.source, data)
        text = choose(texts, self.rule, id_)
        return self.items.append(Item(id_, text, name, partial(load, path), pool))

    def skip(self, name: str, reason: str, *, broken: bool = False) -> None:
        self.skipped.append(Skip(name, reason, broken))

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if self.root in path.parents else str(path)

    def inside(self, path: Path) -> Path:
        """`path`, after making sure that it is a file and does not lead out of the folder."""
        real = path.resolve()
        if not real.is_relative_to(self.root.resolve()):
            raise ValueError("leads out of the folder")
        if not real.is_file():
            raise ValueError("the file is missing" if not real.exists() else "is not a file")
        return path

    def listing(self) -> Listing:
        return listing(self.items, self.skipped)
