"""Somebody else's split: who is a member by file name or sample id, from csv, json or jsonl.

A table has a column `sample_id` or `name` (`file_name` will do) and a column `role` (one of the
five) or `is_member` (1/0, true/false: target_member or target_nonmember). A manifest that
`python -m mia_bench.data ... export=split.json` wrote is such a table too. Roles the table does not
speak of are filled from the other rows, by `data.sizes` and the seed.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mia_bench.data.source import Item, Listing
from mia_bench.data.split.manifest import MAX_EXAMPLES, Split, make_table
from mia_bench.data.split.roles import Role, RoleSizes, assign
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

TRUE, FALSE = (
    frozenset(("1", "true", "yes", "member")),
    frozenset(("0", "false", "no", "nonmember")),
)
NAMES = ("name", "file_name", "filename", "image")


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
    """The split of `listing` that the table at `path` describes.

    A near-duplicate group on both sides of a published split is cut (its rows keep their published
    roles, each part a group of its own) and counted in the split's note.

    Raises MiaError when the table cannot be read, names rows that are not in the data or have
    another caption, or gives one row two roles.
    """
    published = _match(read_table(path), listing, path)
    labels = [
        f"{group}/{published[item.sample_id]}" if item.sample_id in published else group
        for item, group in zip(listing.items, groups, strict=True)
    ]
    published_groups = {
        g for i, g in zip(listing.items, groups, strict=True) if i.sample_id in published
    }
    open_rows = [i for i, group in enumerate(groups) if group not in published_groups]
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
    return replace(split, note=_note(path, published, listing, groups))


def read_table(path: Path, key: str = "data.split=") -> list[dict[str, Any]]:
    """Rows of a csv, json or jsonl file. Raises MiaError when it is none of them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            rows = list(csv.DictReader(io.StringIO(text)))
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            read = json.loads(text)
            rows = read["rows"] if isinstance(read, dict) else read
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise ValueError("it holds no rows")
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise MiaError(
            f"{key}{path} cannot be read: {error}. It must be csv, jsonl or json (a list of rows,"
            " or a manifest with 'rows')."
        ) from error
    return rows


def _match(rows: Sequence[Mapping[str, Any]], listing: Listing, path: Path) -> dict[str, Role]:
    """Role by sample id of every row of the table."""
    find = _finder(listing)
    published: dict[str, Role] = {}
    missing, changed, twice = [], [], []
    for row in rows:
        item = find(row)
        if item is None:
            missing.append(_label(row))
            continue
        role = _role(row, path)
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
            raise MiaError(
                f"data.split={path}: {len(which):,} of {len(rows):,} rows {what}, for example"
                f" {examples}. Use the data the split was made for, or correct the table."
            )
    return published


def _finder(listing: Listing) -> Any:
    by_id = {item.sample_id: item for item in listing.items}
    by_name = {item.name: item for item in listing.items}
    short: dict[str, list[Item]] = defaultdict(list)
    for item in listing.items:
        short[item.name.rpartition("/")[2]].append(item)

    def find(row: Mapping[str, Any]) -> Item | None:
        if row.get("sample_id"):
            return by_id.get(str(row["sample_id"]))
        name = _name(row)
        same = short.get(name.rpartition("/")[2], [])
        return by_name.get(name) or (same[0] if len(same) == 1 else None)

    return find


def _name(row: Mapping[str, Any]) -> str:
    return next((str(row[column]) for column in NAMES if row.get(column)), "")


def _label(row: Mapping[str, Any]) -> str:
    return (str(row.get("sample_id") or "") or _name(row) or "a row without name")[:120]


def _role(row: Mapping[str, Any], path: Path) -> Role:
    role, member = row.get("role"), str(row.get("is_member", "")).strip().lower()
    try:
        if role:
            return Role(str(role))
    except ValueError as error:
        raise MiaError(f"data.split={path}: {error}. Roles: {', '.join(Role)}.") from error
    if member in TRUE | FALSE:
        return Role.TARGET_MEMBER if member in TRUE else Role.TARGET_NONMEMBER
    raise MiaError(
        f"data.split={path}: {_label(row)!r} has neither role ({', '.join(Role)}) nor is_member"
        " (1 or 0)."
    )


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
    path: Path, published: Mapping[str, Role], listing: Listing, groups: Sequence[str]
) -> str:
    sides: dict[str, set[bool]] = defaultdict(set)
    for item, group in zip(listing.items, groups, strict=True):
        role = published.get(item.sample_id)
        if role in (Role.TARGET_MEMBER, Role.TARGET_NONMEMBER):
            sides[group].add(role is Role.TARGET_MEMBER)
    both = sum(len(members) == 2 for members in sides.values())
    counts = ", ".join(f"{n:,} {role}" for role, n in sorted(Counter(published.values()).items()))
    return (
        f"imported from {path.name}: {counts}; {both:,} near-duplicate groups stand on both sides"
        " of the published split"
    )
