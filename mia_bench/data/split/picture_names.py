"""Which picture of the data a row of somebody else's table names: by sample id, or by its file.

A name may lack its folder and its ending, and may have folders before the picture's own: of two
folders one must be the end of the other. Pictures are looked up by every end of their folder, so
that a table takes as long whether its pictures are called alike (`<id>/image.png`) or not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mia_bench.data.source import Item, Listing
from mia_bench.data.split.published import NAMES
from mia_bench.utils.errors import MiaError

Place = tuple[str, ...]
"""A base name and, from the innermost on, the folders it lies in."""


class PictureNames:
    """Pictures of a listing by their base names, given by `base_of`, and their folders."""

    def __init__(self, items: Sequence[Item], base_of: Callable[[str], str]) -> None:
        self.bases: set[str] = set()
        self._whole: dict[Place, list[int]] = defaultdict(list)
        self._ends: dict[Place, list[int]] = defaultdict(list)
        for position, item in enumerate(items):
            place = _place(item.name, base_of)
            self.bases.add(place[0])
            self._whole[place].append(position)
            for end in _ends(place):
                self._ends[end].append(position)

    def positions(self, name: str) -> list[int]:
        """Of the pictures that `name` may mean, in the order of the listing."""
        place = _place(name, lambda base: base)
        longer = (self._whole.get(end, []) for end in _ends(place))  # folders before their own
        return sorted({*self._ends.get(place, []), *(i for some in longer for i in some)})


def _place(name: str, base_of: Callable[[str], str]) -> Place:
    folders, _, base = name.rpartition("/")
    parts = [part for part in folders.split("/") if part not in ("", ".")]
    return (base_of(base), *reversed(parts))


def _ends(place: Place) -> Iterator[Place]:
    """`place` with every number of its innermost folders, none first."""
    return (place[:length] for length in range(1, len(place) + 1))


def _stem(base: str) -> str:
    return base.rpartition(".")[0] or base


def finder(listing: Listing) -> Callable[[Mapping[str, Any]], Item | None]:
    """What finds the picture of a row; None for a row that names none.

    The function raises MiaError for a name of several pictures.
    """
    items = listing.items
    by_id = {item.sample_id: item for item in items}
    whole: dict[str, list[int]] = defaultdict(list)
    for position, item in enumerate(items):
        whole[item.name].append(position)
    named, stems = PictureNames(items, lambda base: base), PictureNames(items, _stem)

    def find(row: Mapping[str, Any]) -> Item | None:
        if row.get("sample_id"):
            return by_id.get(str(row["sample_id"]))
        name = name_of(row)
        return matching(name) or matching(_whole_number(name))

    def matching(name: str) -> Item | None:
        names = named if name.rpartition("/")[2] in named.bases else stems
        same = [items[i] for i in whole.get(name) or names.positions(name)]
        if len(same) > 1:
            raise MiaError(
                f"{name!r} is the name of {len(same):,} pictures of the data, for example "
                f"{same[0].name} ({same[0].sample_id}) and {same[1].name} ({same[1].sample_id}): "
                "name rows with their folders, or by sample_id."
            )
        return same[0] if same else None

    return find


def name_of(row: Mapping[str, Any]) -> str:
    """Of the first column of NAMES that has one; 0 is a name, and backslashes divide folders."""
    names = (str(row[column]) for column in NAMES if row.get(column) not in (None, ""))
    return next(names, "").strip().replace("\\", "/")


def _whole_number(name: str) -> str:
    """`12` for the `12.0` that tables with an empty number make of it; other names as they are."""
    whole, _, rest = name.partition(".")
    return whole if whole.isdecimal() and rest and not rest.strip("0") else name
