"""Intervals by resampling near-duplicate groups, stratified by membership.

In each class as many groups as there are get drawn with replacement (Efron & Tibshirani 1993, ch. 8
and 13): every row gets an integer weight that depends on seed, group labels and membership, not on
scores or row order. All metrics and all score vectors share the weights: differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mia_bench.metrics.roc import BLOCK_ENTRIES, Bools, Floats, Ints
from mia_bench.utils.terminal import progress

Block = TypeVar("Block")
KEPT_WEIGHTS = 1 << 22  # entries of one set of weights that stays in memory, 32 MB
_kept: dict[tuple[bytes, bytes, int, int], list[Ints]] = {}
WATCHED_ROWS = 100_000  # rows beyond which progress is shown
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """Value on the full data and its 95 % interval; what is None is explained by `reason`."""

    value: float | None
    lo: float | None
    hi: float | None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """{"value", "lo", "hi"} and, where there is one, "reason"."""
        entry = {"value": self.value, "lo": self.lo, "hi": self.hi}
        return entry if self.reason is None else {**entry, "reason": self.reason}


@dataclass(frozen=True)
class Bootstrap:
    """Row weights by resampled groups: `row_group` (N,) indexes `member_group` (G,)."""

    row_group: Ints
    member_group: Bools
    seed: int
    n_resamples: int

    @classmethod
    def of(
        cls, is_member: ArrayLike, group: Sequence[str], seed: int, n_resamples: int = 2000
    ) -> Bootstrap:
        """From membership (N,) and group labels (N,).

        Raises ValueError when lengths differ, a label is no string, a group holds both classes, or
        n_resamples < 1.
        """
        if n_resamples < 1:
            raise ValueError(f"n_resamples is {n_resamples}: ask for at least one, better 2000")
        y = np.asarray(is_member, dtype=np.bool_)
        labels, row_group = np.unique(_labels(group, y.size), return_inverse=True)
        member_rows = np.bincount(row_group, weights=y)
        mixed = np.flatnonzero((member_rows > 0) & (member_rows < np.bincount(row_group)))
        if mixed.size:
            raise ValueError(
                f"{mixed.size} groups hold members and non-members, the first is "
                f"'{labels[mixed[0]]}': split whole near-duplicate groups, never their rows"
            )
        return cls(row_group.astype(np.int64), member_rows > 0, seed, n_resamples)

    @property
    def reason(self) -> str | None:
        """Why there can be no interval, or None: one group resampled is that group again."""
        members = int(self.member_group.sum())
        for name, n in (("member", members), ("non-member", self.member_group.size - members)):
            if n < 2:
                return f"{n} {name} group: an interval needs at least 2 groups in each class"
        return None

    def worth(self, member: bool) -> float:
        """How many rows drawn one by one the rows of a class are worth if groups are copies."""
        rows = np.bincount(self.row_group)[self.member_group == member].astype(np.float64)
        return float(rows.sum() ** 2 / (rows**2).sum())

    def weights(self) -> Iterator[Ints]:
        """Blocks (b, N) of row weights, n_resamples rows in all; the same at every call."""
        if not self.kept:
            yield from self._drawn()
            return
        key = (self.row_group.tobytes(), self.member_group.tobytes(), self.seed, self.n_resamples)
        if key not in _kept:  # all runs on a target are judged on the same rows
            _kept.clear()
            _kept[key] = list(self._drawn())
        yield from _kept[key]

    @property
    def kept(self) -> bool:
        """Whether weights of rows stay in memory for the next run on the same rows."""
        return self.row_group.size * self.n_resamples <= KEPT_WEIGHTS

    def _watched(self, blocks: Iterable[Block]) -> Iterable[Block]:
        """With a bar and the time to go where it takes long."""
        if self.row_group.size <= WATCHED_ROWS:
            return blocks
        size = max(1, BLOCK_ENTRIES // self.row_group.size)
        return progress(blocks, "intervals", "resample", -(-self.n_resamples // size))

    def _drawn(self) -> Iterator[Ints]:
        strata = [np.flatnonzero(self.member_group), np.flatnonzero(~self.member_group)]
        for drawn in self.group_weights():
            counts = np.empty((len(drawn[0]), self.member_group.size), dtype=np.int64)
            for groups, weights in zip(strata, drawn, strict=True):
                counts[:, groups] = weights
            yield counts[:, self.row_group]

    def group_weights(self) -> Iterator[tuple[Ints, Ints]]:
        """The draws of `weights`, by group: blocks (b, G1) of members' and (b, G0) of others'."""
        members = int(self.member_group.sum())
        classes = (members, self.member_group.size - members)
        # one stream per class, read replicate by replicate: the block size cannot matter
        streams = [np.random.default_rng([self.seed, stratum]) for stratum in (1, 2)]
        size = max(1, BLOCK_ENTRIES // self.row_group.size)
        for start in range(0, self.n_resamples, size):
            b = min(size, self.n_resamples - start)
            one, other = (_draw(rng, b, n) for rng, n in zip(streams, classes, strict=True))
            yield one, other

    @property
    def group_place(self) -> Ints:
        """(N,) where the weight of each row's group stands in `group_weights` of its class."""
        first = np.cumsum(self.member_group) - 1
        place = np.where(self.member_group, first, np.arange(first.size) - first - 1)
        return np.asarray(place[self.row_group])

    def replicates(self, statistic: Callable[[Ints], dict[str, Floats]]) -> dict[str, Floats]:
        """(1 + n_resamples,) of each metric, full data first; `statistic` maps (b, N) to (b,)."""
        unit = np.ones((1, self.row_group.size), dtype=np.int64)
        return _stacked(statistic(block) for block in chain([unit], self._watched(self.weights())))

    def replicates_of_groups(
        self, statistic: Callable[[Ints, Ints], dict[str, Floats]]
    ) -> dict[str, Floats]:
        """The same, where `statistic` takes the two parts of `group_weights`."""
        members = int(self.member_group.sum())
        unit = [
            np.ones((1, n), dtype=np.int64) for n in (members, self.member_group.size - members)
        ]
        blocks = chain([(unit[0], unit[1])], self._watched(self.group_weights()))
        return _stacked(statistic(*block) for block in blocks)

    def interval(self, replicates: Floats) -> Interval:
        """Percentile interval of one metric, as `replicates` returns it."""
        value = float(replicates[0])
        if self.reason is not None:
            return Interval(value, None, None, self.reason)
        lo, hi = np.quantile(replicates[1:], QUANTILES)
        return Interval(value, float(lo), float(hi))


def _stacked(blocks: Iterable[dict[str, Floats]]) -> dict[str, Floats]:
    found = list(blocks)
    return {name: np.concatenate([block[name] for block in found]) for name in found[0]}


def _labels(group: Sequence[str], n: int) -> NDArray[np.str_]:
    """Group labels (n,), refused where a missing label would silently join rows into one group."""
    if len(group) != n:
        raise ValueError(f"{len(group)} group labels for {n} rows: pass one label per row")
    if not set(map(type, group)) <= {str}:  # looked at one by one only where something is odd
        bad = next((i for i, label in enumerate(group) if not isinstance(label, str)), None)
    else:
        bad = None
    if bad is not None:
        raise ValueError(f"group label {group[bad]!r} at index {bad} is no string: label every row")
    return np.asarray(group, dtype=np.str_)


def _draw(rng: np.random.Generator, b: int, n: int) -> Ints:
    """How often each of n groups occurs in n draws with replacement, b times over: (b, n)."""
    drawn = rng.integers(n, size=(b, n))
    drawn += n * np.arange(b)[:, None]
    return np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n)
