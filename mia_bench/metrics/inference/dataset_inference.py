"""`python -m mia_bench.dataset_test RUN_FOLDER...`: is a whole set of images known to the model?

Paper: Dubinski et al., "CDI: Copyrighted Data Identification in Diffusion Models", CVPR 2025, arXiv
2411.12858. A score too weak for single images may tell about a set of them. Suspects P are compared
with samples U of the same distribution that were never published:
    H0  mean score of P' <= mean score of U',   P' from P, U' from U,   |P'| = |U'| = n
    p   one-sided Welch t-test (Welch 1947), a mean over `resamples` draws of P' and U'
    samples_needed = the smallest n from which p stays below 0.01
Here P are the target's members, U its non-members, and scores are held out already: attacks fit
what they fit on calibration rows, so no classifier is cross-fitted inside P and U as in CDI.

Near-duplicates are no independent evidence: n counts near-duplicate groups. A draw takes n groups
without replacement and one random row of each. Draws at different n are nested.
False alarms: the same test between two disjoint halves of U, where every rejection is one. It tells
whether the t-test holds for such scores at such n. It cannot tell whether P and U differ in more
than membership: the controls do.

Reading: the more of the groups n takes, the more alike the draws are. At the largest n, p is in
effect the test of this one sample, so a score that knows nothing is given a `samples_needed` in
about one run of a hundred. Below, a mean of p is a summary, no p-value of its own. The test is
about means and depends on the scale of the scores.
Differs: the released t-test is two-sided and looks at the sign apart, so its p is twice this one;
rows are drawn there, not near-duplicate groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mia_bench.metrics import roc
from mia_bench.metrics.bootstrap import Bootstrap
from mia_bench.metrics.roc import Floats, Ints
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator

P_LEVEL = 0.01
RESAMPLES = 1000
MIN_GROUPS = 2  # groups a side, below which there is no variance
FIRST_SIZES = (2, 3, 5)
SIZE_STEPS = (1, 2, 3, 5, 7)  # times powers of ten
BLOCK_ENTRIES = 1 << 21  # entries of one array of draws: 16 MB


Result = dict[str, Any]


@dataclass(frozen=True)
class ScorePool:
    """Scores (N,) of one side by group (G,): group g has `count[g]` rows from `start[g]` on."""

    scores: Floats
    start: Ints
    count: Ints

    @classmethod
    def of(cls, scores: Floats, group: Ints) -> ScorePool:
        """Rows are sorted, so their order cannot matter."""
        order = np.lexsort((scores, group))
        _, start, count = np.unique(group[order], return_index=True, return_counts=True)
        return cls(scores[order], start.astype(np.int64), count.astype(np.int64))

    @property
    def size(self) -> int:
        """Number of groups."""
        return len(self.start)

    def some(self, most: int, chance: np.random.Generator) -> ScorePool:
        """At most `most` of the groups, drawn at random."""
        if self.size <= most:
            return self
        kept = np.sort(chance.permutation(self.size)[:most])
        return ScorePool(self.scores, self.start[kept], self.count[kept])

    def draw(self, order: np.random.Generator, row: np.random.Generator, b: int) -> Floats:
        """(b, size) all groups in a random order, each as the score of one of its rows.

        The first n columns are n groups drawn without replacement. A stream each for groups and
        rows, read draw by draw: the block size cannot matter.
        """
        groups = order.permuted(np.broadcast_to(np.arange(self.size), (b, self.size)), axis=1)
        rows = row.integers(self.count[groups])
        drawn: Floats = self.scores[self.start[groups] + rows]
        return drawn


def dataset_test(
    scores: ArrayLike,
    is_member: ArrayLike,
    group: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
    most_groups: int | None = None,
) -> Result:
    """How many samples the test of CDI needs to tell members from non-members, as plain JSON.

    scores, is_member, group: (N,) evaluation rows; no score may have been fitted on any of them.
    Returns `sizes`, the mean `p_value` at each, `samples_needed` (or None and a `reason`),
    `false_alarm_rates` at each size that fits twice into the non-members (else None), and
    `false_alarm_rate` at `false_alarm_size`: the size needed, or the largest tried. Its standard
    error is sqrt(0.01 * 0.99 / resamples), 0.003 at 1000. `most_groups`: so many groups of each
    class at most, drawn at random, are all that there is; time grows with them.

    Raises:
        MiaError: rows of one class only, scores that are not finite, lengths that differ, a group
            with members and non-members, or fewer than one resampling.
    """
    suspects, unpublished = _pools(scores, is_member, group, seed, resamples)
    if most_groups is not None:
        chance = keyed_generator(seed, "dataset test", "groups")
        suspects, unpublished = (p.some(most_groups, chance) for p in (suspects, unpublished))
    sizes = grid(min(suspects.size, unpublished.size))
    halves = grid(unpublished.size // 2)
    pairs = _draws(suspects, unpublished, seed, resamples)
    p = np.mean(np.concatenate([_p_values(*pair, sizes) for pair in pairs]), axis=0)
    splits = _splits(unpublished, seed, resamples)
    alarms = np.mean(np.concatenate([_p_values(*s, halves) for s in splits]) < P_LEVEL, axis=0)
    rates = {n: float(rate) for n, rate in zip(halves, alarms, strict=True)}
    needed = _needed(sizes, p)
    shown = needed if needed in rates else max(rates, default=None)
    return {
        "samples_needed": needed,
        **({"reason": _reason(sizes, p)} if needed is None else {}),
        "level": P_LEVEL,
        "sizes": sizes,
        "p_value": p.tolist(),
        "false_alarm_rate": None if shown is None else rates[shown],
        "false_alarm_size": shown,
        "false_alarm_rates": [rates.get(n) for n in sizes],
        "resamples": resamples,
        "groups": {"members": suspects.size, "nonmembers": unpublished.size},
    }


def welch_p(a: Floats, b: Floats) -> Floats:
    """(...,) one-sided p of H0 mean(a) <= mean(b), for a (..., n) and b (..., m), n and m >= 2.

    Where neither sample varies, t is undefined and p is that of the exact permutation test:
    1 / C(n + m, n) when a lies above b, else 1.
    Source: Welch 1947; the degrees of freedom are Satterthwaite's.
    """
    from scipy.special import comb
    from scipy.stats import t as student

    n, m = a.shape[-1], b.shape[-1]
    gap = a.mean(axis=-1) - b.mean(axis=-1)
    of_a, of_b = a.var(axis=-1, ddof=1) / n, b.var(axis=-1, ddof=1) / m
    flat = (np.ptp(a, axis=-1) == 0) & (np.ptp(b, axis=-1) == 0)
    square = np.where(flat, 1.0, of_a + of_b)
    spread = np.where(flat, 1.0, of_a**2 / (n - 1) + of_b**2 / (m - 1))
    p = student.sf(gap / np.sqrt(square), square**2 / spread)
    exact = np.where(a[..., 0] > b[..., 0], 1 / comb(n + m, n), 1.0)
    return np.asarray(np.where(flat, exact, p), dtype=np.float64)


def grid(most: int) -> list[int]:
    """2, 3, 5, 10, 20, 30, 50, 70, 100, 200, ... up to `most`, which is the last; empty below 2."""
    if most < MIN_GROUPS:
        return []
    powers = [10**k for k in range(1, len(str(most)) + 1)]
    regular = [*FIRST_SIZES, *(step * power for power in powers for step in SIZE_STEPS)]
    return [*(n for n in regular if n < most), most]


def _pools(
    scores: ArrayLike, is_member: ArrayLike, group: Sequence[str], seed: int, resamples: int
) -> tuple[ScorePool, ScorePool]:
    """Members and non-members, moved and scaled together, which does not change p."""
    try:
        s, y = roc.validate(scores, is_member)
        row_group = Bootstrap.of(y, group, seed, resamples).row_group
    except ValueError as error:
        raise MiaError(f"no dataset test: {error}.") from error
    s = s / (np.abs(s).max() or 1.0)  # squares of large scores overflow
    s = s - np.median(s)  # and a large offset hides their variance
    s = s / (np.abs(s).max() or 1.0)
    return ScorePool.of(s[y], row_group[y]), ScorePool.of(s[~y], row_group[~y])


def _draws(
    a: ScorePool, b: ScorePool, seed: int, resamples: int
) -> Iterator[tuple[Floats, Floats]]:
    """Blocks of draws of P and U."""
    of_a, of_b = _streams(seed, "suspects"), _streams(seed, "unpublished")
    for n in _blocks(resamples, max(a.size, b.size)):
        yield a.draw(*of_a, n), b.draw(*of_b, n)


def _splits(pool: ScorePool, seed: int, resamples: int) -> Iterator[tuple[Floats, Floats]]:
    """Blocks of draws of U, halved."""
    streams, half = _streams(seed, "false alarms"), pool.size // 2
    for n in _blocks(resamples, pool.size):
        drawn = pool.draw(*streams, n)
        yield drawn[:, :half], drawn[:, half:]


def _streams(seed: int, side: str) -> tuple[np.random.Generator, np.random.Generator]:
    order, row = (keyed_generator(seed, "dataset test", side, part) for part in ("order", "row"))
    return order, row


def _blocks(resamples: int, width: int) -> Iterator[int]:
    size = max(1, BLOCK_ENTRIES // width)
    return (min(size, resamples - start) for start in range(0, resamples, size))


def _p_values(a: Floats, b: Floats, sizes: list[int]) -> Floats:
    """(b, len(sizes)): p of the first n columns of both, for every n."""
    columns = [welch_p(a[:, :n], b[:, :n]) for n in sizes]
    return np.stack(columns, axis=1) if columns else np.zeros((len(a), 0))


def _needed(sizes: list[int], p: Floats) -> int | None:
    """The smallest size from which p stays below the level."""
    above = np.flatnonzero(p >= P_LEVEL)
    first = int(above[-1]) + 1 if above.size else 0
    return sizes[first] if first < len(sizes) else None


def _reason(sizes: list[int], p: Floats) -> str:
    if not sizes:
        return f"fewer than {MIN_GROUPS} near-duplicate groups of a class"
    wrong = ": members score lower" if p[-1] > 0.5 else ""
    return f"p is {p[-1]:.2g} with all {sizes[-1]} groups a side{wrong}"
