"""The permutation test of two sets of scores: exact at every size.

    T  mean score of the members - mean score of the others
    p  share of all ways to call n1 of the n rows members that give a T at least as large

Under H0 (the labels say nothing about the scores) every way is equally likely, so P(p <= a) <= a
whatever the scores are (Fisher 1935; Lehmann and Romano 2005, section 15.2). Beyond the sizes that
can be enumerated p = (1 + #{T* >= T}) / (1 + draws), which keeps that bound (Phipson and Smyth
2010, Stat. Appl. Genet. Mol. Biol. 9).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from numpy.typing import ArrayLike

from mia_bench.metrics import roc
from mia_bench.metrics.roc import Bools, Floats
from mia_bench.utils.rng import keyed_generator

ENUMERABLE_ASSIGNMENTS = 200_000  # ways to choose the members that are all looked at
DRAWS = 99_999
BLOCK_ENTRIES = 1 << 20  # entries of one block of permuted scores, 8 MB
RELATIVE_TOLERANCE = 1e-12  # two sums of the same scores in another order differ by rounding


@dataclass(frozen=True)
class PermutationTest:
    """One-sided p. `assignments`: labellings compared; `exact`: they are all there are."""

    p_value: float
    difference: float
    assignments: int
    exact: bool


def permutation_test(
    scores: ArrayLike, is_member: ArrayLike, seed: int, draws: int = DRAWS
) -> PermutationTest:
    """Do members score higher? `scores`, `is_member`: (N,), one row per independent picture.

    Raises ValueError as `roc.validate`.
    """
    s, y = roc.validate(scores, is_member)
    s = s - s.mean()
    n, n1 = s.size, int(y.sum())
    least = s[y].sum() - RELATIVE_TOLERANCE * np.abs(s).sum()
    difference = float(s[y].mean() - s[~y].mean())
    ways = math.comb(n, n1)
    if ways <= ENUMERABLE_ASSIGNMENTS:
        reached = sum(int((sums >= least).sum()) for sums in _every_sum(s, n1))
        return PermutationTest(reached / ways, difference, ways, exact=True)
    reached = sum(int((sums >= least).sum()) for sums in _drawn_sums(s, n1, seed, draws))
    return PermutationTest((1 + reached) / (1 + draws), difference, draws, exact=False)


def refitted_test(
    statistic: Callable[[Bools], float],
    is_member: Bools,
    seed: int,
    draws: int,
) -> PermutationTest:
    """The same test of any statistic of the labels, such as one of a classifier fitted on them.

    Args:
        statistic: of labels (N,), larger for a stronger leak; everything that sees labels is done
            again in it.
    """
    rng = keyed_generator(seed, "refit")
    value = statistic(is_member)
    reached = sum(statistic(rng.permutation(is_member)) >= value for _ in range(draws))
    return PermutationTest((1 + reached) / (1 + draws), value, draws, exact=False)


def smallest_p(members: int, others: int, draws: int = DRAWS) -> float:
    """The p below which no scores can bring this test at these sizes."""
    ways = math.comb(members + others, members)
    return 1 / ways if ways <= ENUMERABLE_ASSIGNMENTS else 1 / (1 + draws)


def _every_sum(s: Floats, n1: int) -> Iterator[Floats]:
    """Sums of the scores of every choice of `n1` rows, in blocks."""
    choices, size = combinations(range(s.size), n1), max(1, BLOCK_ENTRIES // n1)
    while block := list(islice(choices, size)):
        yield s[np.array(block)].sum(axis=1)


def _drawn_sums(s: Floats, n1: int, seed: int, draws: int) -> Iterator[Floats]:
    """Sums over random choices; the block size cannot matter."""
    rng, size = keyed_generator(seed, "permutation test"), max(1, BLOCK_ENTRIES // s.size)
    for start in range(0, draws, size):
        rows = np.broadcast_to(s, (min(size, draws - start), s.size))
        yield rng.permuted(rows, axis=1)[:, :n1].sum(axis=1)
