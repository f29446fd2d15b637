"""Who is a member: the rows and their roles, and the manifest that fixes them.

A split is stored as JSON with a content hash, because every fine-tuned model is only worth
something together with the exact split it was trained on.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mia_bench.data.source import Listing, Skip, fingerprint
from mia_bench.data.split.roles import Role, RoleSizes, assign
from mia_bench.storage.files import regular_file, write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

MANIFEST_VERSION = 1
MAX_EXAMPLES = 3


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
        return hash_key([vars(row) for row in self.table])

    def rows(self, *roles: Role) -> npt.NDArray[np.intp]:
        """Positions in the split of the rows with one of `roles`, ascending."""
        return np.flatnonzero([row.role in roles for row in self.table])

    def summary(self) -> str:
        """Counts per role, groups, merged copies, what was skipped and why, for people."""
        groups = Counter(self.group)
        counts = Counter(self.role)
        try:
            wanted = self.sizes.counts(len(self.table) + self.unused)
        except MiaError:  # of an imported split, which follows its file and not data.sizes
            wanted = {}
        lines = [
            f"{len(self.table):,} {self.source} rows in {len(groups):,} near-duplicate groups, the"
            f" largest of {max(groups.values(), default=0):,} rows; {self.duplicates:,} exact"
            f" duplicates merged, {self.unused:,} rows unused"
        ]
        for role in Role:
            requested = (
                f", {wanted[role]:,} requested"
                if wanted.get(role, counts[role]) != counts[role]
                else ""
            )
            inside = len({row.group for row in self.table if row.role == role})
            lines.append(f"  {role:<17}{counts[role]:>7,} rows in {inside:,} groups{requested}")
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
    # not asdict, which copies every value of every row: a second for ten thousand rows
    fields = {field: getattr(split, field) for field in split.__dataclass_fields__}
    rows = [vars(row) for row in fields.pop("table")]
    fields |= {"sizes": asdict(split.sizes), "skipped": [vars(skip) for skip in split.skipped]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path, {"version": MANIFEST_VERSION, **fields, "rows": rows, "hash": split.content_hash}
    )


def load_split(path: Path) -> Split:
    """Read a manifest. Raises MiaError when missing, damaged, edited or of another version."""
    advice = f"Restore {path}, or delete it to make a new split, which needs new fine-tunes."
    try:
        fields = json.loads(regular_file(path).read_bytes())
        version, stored = fields.pop("version"), fields.pop("hash")
        if version != MANIFEST_VERSION:
            raise MiaError(
                f"the split manifest has version {version}, not {MANIFEST_VERSION}. {advice}"
            )
        fields["sizes"] = RoleSizes(**fields["sizes"])
        rows = fields.pop("rows")
        table = tuple(Row(**{**row, "role": Role(row["role"])}) for row in rows)
        fields["skipped"] = tuple(Skip(**skip) for skip in fields.get("skipped", ()))
        split = Split(**fields, table=table)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
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
    absent = [row for row in split.table if row.sample_id not in now]
    missing = [row for row in absent if row.name not in names]
    changed = [row for row in absent if row.name in names]
    changed += [r for r in split.table if now.get(r.sample_id, r.caption_hash) != r.caption_hash]
    if not missing and not changed:
        return
    examples = ", ".join(
        f"{row.sample_id} ({row.name})" for row in (missing + changed)[:MAX_EXAMPLES]
    )
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
