"""The contract every image-caption reader keeps, and what is the same for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from PIL import Image

from mia_bench.storage.hashing import hash_key
from mia_bench.utils.text import printable


@dataclass(frozen=True, slots=True)
class Item:
    """One image-caption pair, not decoded yet.

    `sample_id` is `sample_id(source, source bytes)`. `caption` and `name` (the original name inside
    the source) are untrusted: their control characters become spaces. `load(resolution)` returns an
    RGB picture of any size; vector sources render at `resolution`, files ignore it. It may raise
    anything a decoder raises, and should be picklable (data loader workers). `pool` is the part of
    the source an item belongs to where there are parts (val2017, members): `data.pools` restricts
    roles to them. `own_caption` is what a model is trained on, `caption` what an attacker asks
    with; they differ only with `data.captions`. `label` is what a column of the data says of its
    membership: member, nonmember or validation; "" for nothing, "a+b" where it contradicts itself.
    `raw()` gives the bytes of its picture file again, None where there is none (drawings, arrays of
    pixels); picklable like `load`.
    """

    sample_id: str
    caption: str
    name: str
    load: Callable[[int], Image.Image] = field(compare=False, repr=False)
    pool: str = ""
    trained_on: str | None = None
    label: str = ""
    raw: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "caption", printable(self.caption))
        object.__setattr__(self, "name", printable(self.name))

    @property
    def own_caption(self) -> str:
        return self.caption if self.trained_on is None else self.trained_on


@dataclass(frozen=True)
class Skip:
    """A picture the source holds and the benchmark does not use, and why.

    `broken`: the input is bad, as opposed to a picture that the source leaves out by its rules.
    """

    name: str
    reason: str
    broken: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))
        object.__setattr__(self, "reason", printable(self.reason))


@dataclass(frozen=True)
class Listing:
    """What a source offers: distinct items in name order, skips, and how many copies merged.

    `columns` are those of its tables, `label_column` the one that says who is a member.
    `captionless` makes each picture that is skipped for want of a caption alone. `rows_in_order`:
    the order of names is that of the rows of its tables. `official` has the sample id of every
    picture in the order in which the data set is distributed, copies included; empty where there
    is no such order.
    """

    items: tuple[Item, ...]
    skipped: tuple[Skip, ...] = ()
    duplicates: int = 0
    columns: tuple[str, ...] = field(default=(), compare=False)
    label_column: str = field(default="", compare=False)
    captionless: tuple[Callable[[], Item], ...] = field(default=(), compare=False, repr=False)
    rows_in_order: bool = field(default=True, compare=False)
    official: tuple[str, ...] = field(default=(), compare=False, repr=False)


class Source(Protocol):
    """A reader of image-caption pairs. Listing must be cheap: `Item.load` decodes pictures.

    A source that may download also has `downloads() -> str`: what it would fetch, or "".
    `items` raises Missing when the data is neither here nor to be had.
    """

    @property
    def name(self) -> str: ...

    @property
    def licence(self) -> str: ...

    def items(self) -> Listing: ...


def downloads(source: Source) -> str:
    """What `source` would download before it can list anything, in words; "" when nothing."""
    ask = getattr(source, "downloads", None)
    return ask() if callable(ask) else ""


def sample_id(source: str, data: bytes) -> str:
    """`<source>:<first 12 hex digits of the BLAKE2b of data>`; `data` are the bytes of the file."""
    return f"{source}:{hashlib.blake2b(data).hexdigest()[:12]}"


def listing(items: Iterable[Item], skipped: Iterable[Skip] = ()) -> Listing:
    """Sort by name and merge items with the same sample id: the first in name order is kept.

    Copies in two pools belong to neither alone: their pool becomes "a+b", which no role names; so
    does the label of copies that contradict each other.
    """
    kept: dict[str, Item] = {}
    total = 0
    for item in sorted(items, key=lambda item: (item.name, item.sample_id, item.caption)):
        first = kept.setdefault(item.sample_id, item)
        if item.pool not in first.pool.split("+"):
            kept[item.sample_id] = replace(first, pool=f"{first.pool}+{item.pool}")
        if item.label not in ("", *first.label.split("+")):
            both = "+".join(filter(None, (first.label, item.label)))
            kept[item.sample_id] = replace(kept[item.sample_id], label=both)
        total += 1
    return Listing(tuple(kept.values()), tuple(skipped), total - len(kept))


def ordered_listing(items: Sequence[Item]) -> Listing:
    """The `listing` of items that come in the order in which their data set is distributed."""
    return replace(listing(items), official=tuple(item.sample_id for item in items))


def fingerprint(listing: Listing) -> str:
    """Hash of the contents: every (sample_id, caption), whatever their order and names."""
    return hash_key(sorted((item.sample_id, item.caption) for item in listing.items))
