"""Collecting pairs from files: what cannot be used is skipped with its name and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from mia_bench.data.pictures.image_file import read_picture
from mia_bench.data.readers.caption_fields import CaptionRule, NoCaptionError, candidates, choose
from mia_bench.data.readers.membership import COLUMNS, joined, label_column, label_of
from mia_bench.data.source import Item, Listing, Skip, listing, sample_id

Load = Callable[[Path, int], Image.Image]
Facts = Mapping[str, Sequence[Any]]
"""What the rows about one picture say in the columns that may tell who is a member."""


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
    facts: dict[str, list[Facts]] = field(default_factory=dict)
    """By sample id, from all tables, archives and splits of the source."""
    captionless_facts: list[Facts] = field(default_factory=list)
    rows_in_order: bool = True
    """Names rise with the rows of each table, and no two rows are one picture."""
    captionless: list[Callable[[str], Item]] = field(default_factory=list)
    """Makes each picture that was skipped because it has no caption, by the column of labels."""

    def add(
        self,
        path: Path,
        caption: Any,
        pool: str = "",
        load: Load = read_picture,
        facts: Facts | None = None,
    ) -> None:
        """The picture at `path` with whatever its annotation holds; nothing is decoded."""
        name = self.name(path)
        try:
            texts = candidates(caption)
            data = self.inside(path).read_bytes()
        except NoCaptionError as error:
            self.skip(name, str(error), broken=True)
            self.captionless_facts.append(facts or {})
            self.captionless.append(partial(self._read, path, name, load, pool, facts or {}))
            return None
        except ValueError as error:
            return self.skip(name, str(error), broken=True)
        except OSError as error:
            return self.skip(name, f"cannot be read: {error.strerror}", broken=True)
        id_ = sample_id(self.source, data)
        text = choose(texts, self.rule, id_)
        raw = _raw(path, load)
        return self.keep(Item(id_, text, name, partial(load, path), pool, raw=raw), facts)

    def add_bytes(
        self,
        name: str,
        data: bytes,
        caption: Any,
        load: Callable[[int], Image.Image],
        pool: str = "",
        facts: Facts | None = None,
        raw: Callable[[], bytes] | None = None,
    ) -> None:
        """A picture whose bytes are `data`, inside another file, and how it is read again."""
        id_ = sample_id(self.source, data)
        try:
            text = choose(candidates(caption), self.rule, id_)
        except NoCaptionError as error:
            self.skip_captionless(name, error, id_, load, pool, facts, raw)
        except ValueError as error:
            self.skip(name, str(error), broken=True)
        else:
            self.keep(Item(id_, text, name, load, pool, raw=raw), facts)

    def keep(self, item: Item, facts: Facts | None = None) -> None:
        """A pair, with what its rows say of membership; `listing` makes a label of it."""
        self.items.append(item)
        if facts:
            self.facts.setdefault(item.sample_id, []).append(facts)

    def skip(self, name: str, reason: str, *, broken: bool = False) -> None:
        self.skipped.append(Skip(name, reason, broken))

    def facts_of(self, row: Mapping[str, Any]) -> Facts:
        """The columns of a row that may say who is a member: the named one, or the usual ones."""
        wanted = COLUMNS if self.member is None else (self.member,)
        return {column: [row[column]] for column in wanted if column in row}

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if self.root in path.parents else str(path)

    def inside(self, path: Path) -> Path:
        """`path`, after making sure that it is a file and does not lead out of the folder."""
        if self.leads_out(path):
            raise ValueError("leads out of the folder")
        if not path.is_file():
            raise ValueError("the file is missing" if not path.exists() else "is not a file")
        return path

    def leads_out(self, path: Path) -> bool:
        """Whether `path` leads out of the folder and may not. Raises ValueError for a loop."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError) as error:  # Python before 3.13 calls a loop a RuntimeError
            raise ValueError("a link that leads back to itself") from error
        return not self.follow_links and not real.is_relative_to(self.root.resolve())

    def listing(self) -> Listing:
        """Everything collected. Raises MiaError where no table has the column of `member`."""
        column = self._label_column()
        items = [
            replace(item, label=_label(self.facts.get(item.sample_id, ()), column))
            for item in self.items
        ]
        return replace(
            listing(items if column else self.items, self.skipped),
            columns=tuple(self.columns),
            label_column=column,
            captionless=tuple(partial(make, column) for make in self.captionless),
            rows_in_order=self.rows_in_order,
        )

    def _label_column(self) -> str:
        """The column that says who is a member, of all tables together: members may be in one and
        non-members in another."""
        named: Iterable[str] = () if self.member is None else self.columns
        values: dict[str, list[Any]] = {column: [] for column in named}
        for facts in chain(chain.from_iterable(self.facts.values()), self.captionless_facts):
            for column, some in facts.items():
                values.setdefault(column, []).extend(some)
        return label_column(values, self.member)

    def skip_captionless(
        self,
        name: str,
        error: NoCaptionError,
        id_: str,
        load: Callable[[int], Image.Image],
        pool: str,
        facts: Facts | None,
        raw: Callable[[], bytes] | None = None,
    ) -> None:
        """Skip a picture that lacks nothing but a caption."""
        self.skip(name, str(error), broken=True)
        self.captionless_facts.append(facts or {})
        self.captionless.append(
            partial(_captionless, Item(id_, "", name, load, pool, raw=raw), facts or {})
        )

    def _read(
        self, path: Path, name: str, load: Load, pool: str, facts: Facts, column: str
    ) -> Item:
        """A picture without a caption. Raises ValueError or OSError where it cannot be read."""
        id_ = sample_id(self.source, self.inside(path).read_bytes())
        item = Item(id_, "", name, partial(load, path), pool, raw=_raw(path, load))
        return _captionless(item, facts, column)


def _captionless(item: Item, facts: Facts, column: str) -> Item:
    return replace(item, label=_label([facts], column))


def _label(rows: Iterable[Facts], column: str) -> str:
    """member, nonmember or validation as the rows of a picture say in `column`; see `joined`."""
    return joined(label_of(value) or "" for facts in rows for value in facts.get(column, ()))


def _raw(path: Path, load: Load) -> Callable[[], bytes] | None:
    """Reads the file at `path` again; None where `load` draws it."""
    return path.read_bytes if load is read_picture else None
