"""Somebody else's split: who is a member by a file (published.py) or by a column of the data.

A manifest that `python -m mia_bench.data ... export=split.json` wrote is such a file too. Roles of
which nothing is said are filled from the other rows, by `data.sizes` and the seed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mia_bench.data.source import Listing
from mia_bench.data.split.manifest import MAX_EXAMPLES, Split, make_table
from mia_bench.data.split.picture_names import finder, name_of
from mia_bench.data.split.published import (
    ROLE_OF_LABEL,
    one_sided,
    published_rows,
    role_of,
)
from mia_bench.data.split.roles import Role, RoleSizes, assign
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError


def import_split(
    path: Path,
    listing: Listing,
    groups: Sequence[str],
    sizes: RoleSizes,
    *,
    source: str,
    seed: int,
    max_distance: int,
    allowed: Mapping[Role, str] | None = None,
) -> Split:
    """The split of `listing` that the file at `path` describes.

    A near-duplicate group on both sides of a published split is cut (its rows keep their published
    roles, each part a group of its own) and counted in the split's note.

    Raises MiaError as `imported_roles`.
    """
    published, on_both_sides = _roles_of_file(path, listing)
    if path.suffix.lower() == ".txt":  # the members: whoever is not on the list is none
        others = (item.sample_id for item in listing.items if item.sample_id not in published)
        published |= dict.fromkeys(others, Role.TARGET_NONMEMBER)
        sizes = _fitting(sizes, published, 0)
    origin = f"imported from {path.name}"
    if on_both_sides:
        origin += f" without {on_both_sides:,} pictures of which copies stand on both sides"
    return _told(
        published,
        origin,
        listing,
        groups,
        sizes,
        source=source,
        seed=seed,
        max_distance=max_distance,
        allowed=allowed,
    )


def imported_roles(path: Path, listing: Listing) -> dict[str, Role]:
    """Role by sample id of the rows that the file at `path` names.

    Raises MiaError when the table cannot be read, names rows that are not in the data or have
    another caption, or gives one row two roles.
    """
    return _roles_of_file(path, listing)[0]


def _roles_of_file(path: Path, listing: Listing) -> tuple[dict[str, Role], int]:
    """(role by sample id, pictures of which copies stand on both sides)."""
    rows: Sequence[Mapping[str, Any]] = published_rows(path, listing)
    on_both_sides = 0
    if path.suffix.lower() == ".npz":
        rows, on_both_sides = one_sided(rows)
    return _match(rows, listing, path), on_both_sides


def labelled_split(
    listing: Listing,
    groups: Sequence[str],
    sizes: RoleSizes,
    *,
    source: str,
    seed: int,
    max_distance: int,
    allowed: Mapping[Role, str] | None = None,
) -> Split:
    """The split of `listing` as a column of its tables says who is a member; see `import_split`."""
    published = labelled_roles(listing)
    contradictory = sum("+" in item.label for item in listing.items)
    silent = sum(not item.label for item in listing.items)
    split = _told(
        published,
        f"who is a member: column {listing.label_column} of the data",
        listing,
        groups,
        _fitting(sizes, published, silent),
        source=source,
        seed=seed,
        max_distance=max_distance,
        allowed=allowed,
    )
    counts = Counter(split.role)
    split = replace(split, sizes=RoleSizes(**{str(role): counts[role] for role in Role}))
    if not contradictory:
        return split
    return replace(split, note=f"{split.note}; {contradictory:,} rows are said to be both")


def _fitting(sizes: RoleSizes, published: Mapping[str, Role], silent: int) -> RoleSizes:
    """`sizes` where the rows that no label speaks of suffice; else those are the held-out ones."""
    labelled = set(published.values())
    wanted = [size for role, size in asdict(sizes).items() if Role(role) not in labelled and size]
    if sum(size for size in wanted if isinstance(size, int)) <= silent:
        return sizes
    return RoleSizes(0, 0, 0, 0, None)


def labelled_roles(listing: Listing) -> dict[str, Role]:
    """Role by sample id of the rows whose membership a column of the data says."""
    return {
        item.sample_id: ROLE_OF_LABEL[item.label]
        for item in listing.items
        if item.label in ROLE_OF_LABEL
    }


def _told(
    published: Mapping[str, Role],
    origin: str,
    listing: Listing,
    groups: Sequence[str],
    sizes: RoleSizes,
    *,
    source: str,
    seed: int,
    max_distance: int,
    allowed: Mapping[Role, str] | None,
) -> Split:
    """The split in which rows have their `published` roles, and others what is left."""
    labels = [
        f"{group}/{published[item.sample_id]}" if item.sample_id in published else group
        for item, group in zip(listing.items, groups, strict=True)
    ]
    published_groups = {
        g for i, g in zip(listing.items, groups, strict=True) if i.sample_id in published
    }
    # rows that contradict themselves are nobody's
    open_rows = [
        i
        for i, (item, group) in enumerate(zip(listing.items, groups, strict=True))
        if group not in published_groups and "+" not in item.label
    ]
    roles: list[Role | None] = [published.get(item.sample_id) for item in listing.items]
    for i, role in zip(
        open_rows,
        _others(listing, groups, open_rows, sizes, set(published.values()), allowed or {}, seed),
        strict=True,
    ):
        roles[i] = role
    split = make_table(
        listing, labels, roles, sizes, source=source, seed=seed, max_distance=max_distance
    )
    return replace(split, note=_note(origin, published, listing, groups))


def _match(rows: Sequence[Mapping[str, Any]], listing: Listing, path: Path) -> dict[str, Role]:
    """Role by sample id of every row of the table."""
    find = finder(listing)
    published: dict[str, Role] = {}
    missing, changed, twice = [], [], []
    for row in rows:
        try:
            item = find(row)
        except MiaError as error:
            raise MiaError(f"data.split={path}: {error}") from error
        if item is None:
            missing.append(_label(row))
            continue
        role = role_of(row, path, _label(row))
        if published.setdefault(item.sample_id, role) is not role:
            twice.append(_label(row))
        if row.get("caption_hash") not in (None, hash_key(item.caption)):
            changed.append(_label(row))
    for what, which in (
        ("are not in the data (or were skipped)", missing),
        ("have another caption in the data", changed),
        ("have two roles", twice),
    ):
        if which:
            examples = ", ".join(repr(name) for name in which[:MAX_EXAMPLES])
            nameless = which is missing and not any(map(name_of, rows)) and rows
            columns = f" Its columns: {', '.join(map(str, rows[0]))}." if nameless else ""
            raise MiaError(
                f"data.split={path}: {len(which):,} of {len(rows):,} rows {what}, for example"
                f" {examples}. Use the data the split was made for, or correct the table."
                f"{columns}"
            )
    return published


def _label(row: Mapping[str, Any]) -> str:
    return (str(row.get("sample_id") or "") or name_of(row) or "a row without name")[:120]


def _others(
    listing: Listing,
    groups: Sequence[str],
    open_rows: Sequence[int],
    sizes: RoleSizes,
    published_roles: set[Role],
    allowed: Mapping[Role, str],
    seed: int,
) -> list[Role | None]:
    """Roles that the table does not use, for the rows that it does not name."""
    wanted = {Role(role): size for role, size in asdict(sizes).items()}
    kept = {role: 0 if role in published_roles else size for role, size in wanted.items()}
    counts = RoleSizes.of({str(role): size for role, size in kept.items()})
    pools = [listing.items[i].pool for i in open_rows]
    roles = assign([groups[i] for i in open_rows], counts, seed, pools, allowed)
    return [role if role not in published_roles else None for role in roles]


def _note(
    origin: str, published: Mapping[str, Role], listing: Listing, groups: Sequence[str]
) -> str:
    sides: dict[str, set[bool]] = defaultdict(set)
    for item, group in zip(listing.items, groups, strict=True):
        role = published.get(item.sample_id)
        if role in (Role.TARGET_MEMBER, Role.TARGET_NONMEMBER):
            sides[group].add(role is Role.TARGET_MEMBER)
    both = sum(len(members) == 2 for members in sides.values())
    counts = ", ".join(f"{n:,} {role}" for role, n in sorted(Counter(published.values()).items()))
    return (
        f"{origin}: {counts}; {both:,} near-duplicate groups stand on both sides"
        " of the published split"
    )
