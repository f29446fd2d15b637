"""Collecting pairs from files: what cannot be used is skipped with its name and the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mia_bench.data.readers.caption_fields import CaptionRule, NoCaptionError, candidates, choose
from mia_bench.data.readers.image_file import read_picture
from mia_bench.data.readers.membership import label_column
from mia_bench.data.source import Item, Listing, Skip, listing, sample_id

Load = Callable[[Path, int], Image.Image]


@dataclass
class Pairs:
    """Items and skips of one source under `root`; names are paths relative to it.

    Args:
        member: the column that says who is a member; None: whichever does.
        follow_links: links may lead out of the folder, and linked folders are entered.
    """

    source: str
    root: Path
    rule: CaptionRule = "first"
    items: list[Item] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    member: str | None = None
    follow_links: bool = False
    columns: dict[str, None] = field(default_factory=dict)
    """Names of the columns of all tables."""
    label_column: str = ""
    captionless: list[Callable[[], Item]] = field(default_factory=list)
    """Makes each picture that was skipped because it has no caption."""

    def add(
        self,
        path: Path,
        caption: Any,
        pool: str = "",
        load: Load = read_picture,
        label: str = "",
    ) -> None:
        """The picture at `path` with whatever its annotation holds; nothing is decoded."""
        name = self.name(path)
        try:
            texts = candidates(caption)
            data = self.inside(path).read_bytes()
        except NoCaptionError as error:
            self.skip(name, str(error), broken=True)
            self.captionless.append(partial(self._read, path, name, load, pool, label))
            return None
        except ValueError as error:
            return self.skip(name, str(error), broken=True)
        except OSError as error:
            return self.skip(name, f"cannot be read: {error.strerror}", broken=True)
        id_ = sample_id(self.source, data)
        text = choose(texts, self.rule, id_)
        raw = _raw(path, load)
        item = Item(id_, text, name, partial(load, path), pool, label=label, raw=raw)
        return self.items.append(item)

    def add_bytes(
        self,
        name: str,
        data: bytes,
        caption: Any,
        load: Callable[[int], Image.Image],
        pool: str = "",
        label: str = "",
        raw: Callable[[], bytes] | None = None,
    ) -> None:
        """A picture whose bytes are `data`, inside another file, and how it is read again."""
        id_ = sample_id(self.source, data)
        try:
            text = choose(candidates(caption), self.rule, id_)
        except NoCaptionError as error:
            self.skip_captionless(name, error, id_, load, pool, label, raw)
        except ValueError as error:
            self.skip(name, str(error), broken=True)
        else:
            self.items.append(Item(id_, text, name, load, pool, label=label, raw=raw))

    def skip(self, name: str, reason: str, *, broken: bool = False) -> None:
        self.skipped.append(Skip(name, reason, broken))

    def choose_label(self, columns: Mapping[str, Sequence[Any]]) -> str:
        """The column that says who is a member, of those with values; see `label_column`."""
        self.columns.update(dict.fromkeys(columns))
        if self.member is not None and self.member not in columns:
            return ""  # of another table perhaps; in none: `listing` says so
        column = label_column(columns, self.member)
        self.label_column = self.label_column or column
        return column

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if self.root in path.parents else str(path)

    def inside(self, path: Path) -> Path:
        """`path`, after making sure that it is a file and does not lead out of the folder."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError) as error:  # Python before 3.13 calls a loop a RuntimeError
            raise ValueError("a link that leads back to itself") from error
        if not self.follow_links and not real.is_relative_to(self.root.resolve()):
            raise ValueError("leads out of the folder")
        if not real.is_file():
            raise ValueError("the file is missing" if not real.exists() else "is not a file")
        return path

    def listing(self) -> Listing:
        """Everything collected. Raises MiaError where no table has the column of `member`."""
        if self.member is not None and not self.label_column:
            label_column(dict.fromkeys(self.columns, ()), self.member)
        return replace(
            listing(self.items, self.skipped),
            columns=tuple(self.columns),
            label_column=self.label_column,
            captionless=tuple(self.captionless),
        )

    def skip_captionless(
        self,
        name: str,
        error: NoCaptionError,
        id_: str,
        load: Callable[[int], Image.Image],
        pool: str,
        label: str,
        raw: Callable[[], bytes] | None = None,
    ) -> None:
        """Skip a picture that lacks nothing but a caption."""
        self.skip(name, str(error), broken=True)
        self.captionless.append(partial(Item, id_, "", name, load, pool, None, label, raw))

    def _read(self, path: Path, name: str, load: Load, pool: str, label: str) -> Item:
        """A picture without a caption. Raises ValueError or OSError where it cannot be read."""
        id_ = sample_id(self.source, self.inside(path).read_bytes())
        raw = _raw(path, load)
        return Item(id_, "", name, partial(load, path), pool, label=label, raw=raw)


def _raw(path: Path, load: Load) -> Callable[[], bytes] | None:
    """Reads the file at `path` again; None where `load` draws it."""
    return path.read_bytes if load is read_picture else None
