"""The five roles, and how whole near-duplicate groups are dealt to them by a seeded hash.

An assignment is decided by (group labels, sizes, seed) alone, so it does not depend on the order of
the rows, the machine or the library versions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from mia_bench.utils.errors import MiaError


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


def assign(
    groups: Sequence[str],
    sizes: RoleSizes,
    seed: int,
    pools: Sequence[str] | None = None,
    allowed: Mapping[Role, str] | None = None,
) -> list[Role | None]:
    """Role of each of N rows; None for rows that no role needs. Groups are never divided.

    Groups come in the order of a seeded hash of their label; each role takes those that still fit
    and passes the others on, which meets its count exactly while small groups are left. When none
    fits, it takes the one that ends nearest to the count, if that is nearer than stopping short.

    With `pools` (one per row), a role of `allowed` takes only groups that lie in its pool as a
    whole: a near-duplicate group that reaches into another pool goes to no such role.

    Raises MiaError when the sizes exceed the rows, or a role that needs rows gets none.
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
                f"no near-duplicate group fits {role} ({counts[role]:,} rows requested,"
                f" {len(size):,} groups in all{_of_pool(allowed.get(role))}). Use a larger data set"
                " or smaller data.sizes."
            )
        taken |= dict.fromkeys(chosen, role)
        left = [group for group in left if group not in taken]
    if sizes.validation is None:
        rest = [group for group in left if fits(group, Role.VALIDATION)]
        taken |= dict.fromkeys(rest, Role.VALIDATION)
    return [taken.get(group) for group in groups]


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
