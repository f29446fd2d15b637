"""Who is a member: whole near-duplicate groups to five roles, and the manifest that fixes it.

A split is decided by (group labels, sizes, seed) alone, so it does not depend on the order of the
rows, the machine or the library versions. It is stored as JSON with a content hash, because every
fine-tuned model is only worth something together with the exact split it was trained on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mia_bench.data.source import Listing, Skip, fingerprint
from mia_bench.errors import MiaError
from mia_bench.store import hash_key, write_json

VERSION = 1
EXAMPLES = 3


class Role(StrEnum):
    TARGET_MEMBER = "target_member"
    TARGET_NONMEMBER = "target_nonmember"
    SHADOW_MEMBER = "shadow_member"
    SHADOW_NONMEMBER = "shadow_nonmember"
    VALIDATION = "validation"  # never scored


@dataclass(frozen=True)
class RoleSizes:
    """Rows per role: an int counts rows, a float is a share of them; validation None = the rest.

    Raises ValueError for a negative size or a share above 1.
    """

    target_member: int | float
    target_nonmember: int | float
    shadow_member: int | float
    shadow_nonmember: int | float
    validation: int | float | None = None

    def __post_init__(self) -> None:
        for role, size in asdict(self).items():
            if size is None and role == Role.VALIDATION:
                continue
            if isinstance(size, bool) or not isinstance(size, int | float):
                raise ValueError(
                    f"size {role}={size!r} must be a number of rows or a share of them"
                )
            if not (0 <= size <= 1 if isinstance(size, float) else size >= 0):
                raise ValueError(f"size {role}={size} must be a count (5) or a share (0.05), >= 0")

    @classmethod
    def of(cls, sizes: Mapping[str, Any]) -> RoleSizes:
        """From configuration values. Raises MiaError that names the key."""
        try:
            return cls(**sizes)
        except (TypeError, ValueError) as error:
            raise MiaError(f"data.sizes: {error}. It needs: {', '.join(Role)}.") from error

    def counts(self, rows: int) -> dict[Role, int]:
        """Rows wanted per role out of `rows`; validation is missing when it takes the rest.

        Raises MiaError when more rows are wanted than there are.
        """
        sizes = {Role(role): size for role, size in asdict(self).items() if size is not None}
        # shares are rounded down, so that shares that sum to 1 always fit; 0.29 * 100 is 28.99…
        counts = {
            role: int(size * rows + 1e-9) if isinstance(size, float) else size
            for role, size in sizes.items()
        }
        if sum(counts.values()) > rows:
            wanted = " + ".join(f"{count:,} {role}" for role, count in counts.items())
            raise MiaError(
                f"the split needs {sum(counts.values()):,} rows ({wanted}) and the data has"
                f" {rows:,}. Ask for fewer rows in data.sizes, or use a larger data set."
            )
        return counts


@dataclass(frozen=True)
class Row:
    """One assigned row. `caption_hash` notices a caption that changed while its image did not."""

    sample_id: str
    group: str
    role: Role
    name: str
    caption_hash: str


@dataclass(frozen=True)
class Split:
    """Rows in sample-id order, and what they were made from.

    `unused`: rows without a role. `skipped`: pairs of the source that are not rows, and why.
    `note`: what else a reader must know (an imported split, groups between pools).
    """

    source: str
    fingerprint: str
    seed: int
    sizes: RoleSizes
    max_distance: int
    duplicates: int
    unused: int
    table: tuple[Row, ...]
    skipped: tuple[Skip, ...] = ()
    note: str = ""

    @cached_property
    def sample_id(self) -> tuple[str, ...]:
        return tuple(row.sample_id for row in self.table)

    @cached_property
    def group(self) -> tuple[str, ...]:
        return tuple(row.group for row in self.table)

    @cached_property
    def role(self) -> tuple[Role, ...]:
        return tuple(row.role for row in self.table)

    @cached_property
    def content_hash(self) -> str:
        return hash_key([asdict(row) for row in self.table])

    def rows(self, *roles: Role) -> npt.NDArray[np.intp]:
        """Positions in the split of the rows with one of `roles`, ascending."""
        return np.flatnonzero([row.role in roles for row in self.table])

    def summary(self) -> str:
        """Counts per role, groups, merged copies, what was skipped and why, for people."""
        groups = Counter(self.group)
        counts = Counter(self.role)
        wanted = self.sizes.counts(len(self.table) + self.unused)
        lines = [
            f"{len(self.table):,} {self.source} rows in {len(groups):,} near-duplicate groups, the"
            f" largest of {max(groups.values(), default=0):,} rows; {self.duplicates:,} exact"
            f" duplicates merged, {self.unused:,} rows unused"
        ]
        for role in Role:
            asked = (
                f", {wanted[role]:,} asked"
                if wanted.get(role, counts[role]) != counts[role]
                else ""
            )
            inside = len({row.group for row in self.table if row.role == role})
            lines.append(f"  {role:<17}{counts[role]:>7,} rows in {inside:,} groups{asked}")
        return "\n".join([*lines, *self._remarks()])

    def _remarks(self) -> Iterator[str]:
        if self.skipped:
            rows = len(self.table) + self.unused
            yield (
                f"  {rows:,} of {rows + len(self.skipped):,} pairs can be used; skipped:"
                f" {reasons(self.skipped)}"
            )
        if self.note:
            yield f"  {self.note}"


def reasons(skipped: Sequence[Skip], most: int = 6) -> str:
    """'1,822 skin-tone variant, 3 no caption (bad input)': counts by reason, the largest first."""
    counts = Counter((reason_kind(skip.reason), skip.broken) for skip in skipped)
    parts = [
        f"{count:,} {reason}{' (bad input)' if broken else ''}"
        for (reason, broken), count in counts.most_common(most)
    ]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(most))
    return ", ".join([*parts, f"{rest:,} for other reasons"] if rest else parts)


def reason_kind(reason: str) -> str:
    """`reason` without what belongs to one picture: the decoder's words, its size."""
    return re.sub(r"\d+x\d+ (px )?", "", reason.partition(": ")[0])


def assign(
    groups: Sequence[str],
    sizes: RoleSizes,
    seed: int,
    pools: Sequence[str] | None = None,
    allowed: Mapping[Role, str] | None = None,
) -> list[Role | None]:
    """Role of each of N rows; None for rows no role asked for. Groups are never divided.

    Groups come in the order of a seeded hash of their label; each role takes those that still fit
    and passes the others on, which meets its count exactly while small groups are left. When none
    fits, it takes the one that ends nearest to the count, if that is nearer than stopping short.

    With `pools` (one per row), a role of `allowed` takes only groups that lie in its pool as a
    whole: a near-duplicate group that reaches into another pool goes to no such role.

    Raises MiaError when the sizes exceed the rows, or a role that asked for rows gets none.
    """
    counts = sizes.counts(len(groups))
    size = Counter(groups)
    left = sorted(size, key=lambda group: (_draw(seed, group), group))
    inside: dict[str, set[str]] = {}
    for group, pool in zip(groups, pools or [""] * len(groups), strict=True):
        inside.setdefault(group, set()).add(pool)
    allowed = allowed or {}

    def fits(group: str, role: Role) -> bool:
        return role not in allowed or inside[group] == {allowed[role]}

    taken: dict[str, Role] = {}
    # Filled in a seeded order too: what happens to large groups at the end of a role favours none.
    for role in sorted(counts, key=lambda role: _draw(seed, role)):
        chosen = _fill([group for group in left if fits(group, role)], size, counts[role])
        if counts[role] and not chosen:
            raise MiaError(
                f"no near-duplicate group fits {role} ({counts[role]:,} rows asked,"
                f" {len(size):,} groups in all{_of_pool(allowed.get(role))}). Use a larger data set"
                " or smaller data.sizes."
            )
        taken |= dict.fromkeys(chosen, role)
        left = [group for group in left if group not in taken]
    if sizes.validation is None:
        rest = [group for group in left if fits(group, Role.VALIDATION)]
        taken |= dict.fromkeys(rest, Role.VALIDATION)
    return [taken.get(group) for group in groups]


def make_split(
    listing: Listing,
    groups: Sequence[str],
    sizes: RoleSizes,
    *,
    source: str,
    seed: int,
    max_distance: int,
    allowed: Mapping[Role, str] | None = None,
) -> Split:
    """The split of `listing`, whose item i is in near-duplicate group `groups[i]`; see `assign`."""
    pools = [item.pool for item in listing.items]
    roles = assign(groups, sizes, seed, pools, allowed)
    split = make_table(
        listing, groups, roles, sizes, source=source, seed=seed, max_distance=max_distance
    )
    between = _between_pools(groups, pools) if allowed else 0
    if not between:
        return split
    note = f"{between:,} rows in near-duplicate groups that reach into two pools have no such role"
    return replace(split, note=note)


def make_table(
    listing: Listing,
    groups: Sequence[str],
    roles: Sequence[Role | None],
    sizes: RoleSizes,
    *,
    source: str,
    seed: int,
    max_distance: int,
) -> Split:
    """The split that gives item i the role `roles[i]`."""
    table = sorted(
        (
            Row(item.sample_id, group, role, item.name, hash_key(item.caption))
            for item, group, role in zip(listing.items, groups, roles, strict=True)
            if role is not None
        ),
        key=lambda row: row.sample_id,
    )
    return Split(
        source,
        fingerprint(listing),
        seed,
        sizes,
        max_distance,
        listing.duplicates,
        len(groups) - len(table),
        tuple(table),
        listing.skipped,
    )


def save_split(split: Split, path: Path) -> None:
    """Write the manifest, whole or not at all."""
    fields = asdict(split)
    rows = fields.pop("table")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": VERSION, **fields, "rows": rows, "hash": split.content_hash})


def load_split(path: Path) -> Split:
    """Read a manifest. Raises MiaError when missing, damaged, edited or of another version."""
    advice = f"Restore {path}, or delete it to make a new split, which needs new fine-tunes."
    try:
        fields = json.loads(path.read_bytes())
        version, stored = fields.pop("version"), fields.pop("hash")
        if version != VERSION:
            raise MiaError(f"the split manifest has version {version}, not {VERSION}. {advice}")
        fields["sizes"] = RoleSizes(**fields["sizes"])
        rows = fields.pop("rows")
        table = tuple(Row(**{**row, "role": Role(row["role"])}) for row in rows)
        fields["skipped"] = tuple(Skip(**skip) for skip in fields.get("skipped", ()))
        split = Split(**fields, table=table)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise MiaError(f"the split manifest cannot be read: {error!r}. {advice}") from error
    if split.content_hash != stored:
        raise MiaError(
            f"the split manifest was edited: its rows do not give its hash {stored}. {advice}"
        )
    return split


def check_split(split: Split, listing: Listing, path: Path) -> None:
    """Raise MiaError unless every row of the split is still in the data, unchanged.

    Rows that the data gained since are no error: they have no role. `path` is the manifest.
    """
    now = {item.sample_id: hash_key(item.caption) for item in listing.items}
    names = {item.name for item in listing.items}
    gone = [row for row in split.table if row.sample_id not in now]
    missing = [row for row in gone if row.name not in names]
    changed = [row for row in gone if row.name in names]
    changed += [r for r in split.table if now.get(r.sample_id, r.caption_hash) != r.caption_hash]
    if not missing and not changed:
        return
    examples = ", ".join(f"{row.sample_id} ({row.name})" for row in (missing + changed)[:EXAMPLES])
    raise MiaError(
        f"the {split.source} data no longer matches its split: {len(missing):,} of"
        f" {len(split.table):,} rows are missing and {len(changed):,} have another image or"
        f" caption, for example {examples}. Restore the data, or delete {path} to make"
        " a new split, which needs new fine-tunes."
    )


def _between_pools(groups: Sequence[str], pools: Sequence[str]) -> int:
    """Rows whose group has rows of another pool, or copies there."""
    seen: dict[str, set[str]] = {}
    for group, pool in zip(groups, pools, strict=True):
        seen.setdefault(group, set()).update(pool.split("+"))
    return sum(len(seen[group]) > 1 for group in groups)


def _of_pool(pool: str | None) -> str:
    return "" if pool is None else f", only those of the pool '{pool}'"


def _draw(seed: int, label: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{label}".encode(), digest_size=16).digest()


def _fill(left: Sequence[str], size: Mapping[str, int], count: int) -> list[str]:
    """Groups of `left`, first come first served, with `count` rows or as close as they allow."""
    chosen: list[str] = []
    for group in left:
        if size[group] <= count:
            chosen.append(group)
            count -= size[group]
    rest = set(left).difference(chosen)
    smallest = min((g for g in left if g in rest), key=size.__getitem__, default=None)
    if smallest is not None and size[smallest] - count < count:
        chosen.append(smallest)
    return chosen
