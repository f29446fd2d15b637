"""The rank test among exchangeable variants: no shadow model, no unseen set, exact.

Of every picture there are N + 1 versions made alike, of which a coin chose the one that was
published; the others were kept. A model that never saw the published one ranks the versions as if
it did not know the coin. With V_i = #{variant scores >= published score} of picture i,

    p_i = (1 + V_i) / (N_i + 1)                                    of one picture
    p   = P(U_1 + ... + U_k <= V_1 + ... + V_k),  U_i uniform on 0 .. N_i     of all pictures

The sum's distribution is computed by convolution. Equal scores count against membership, which can
only raise p. Fisher's combination of the p_i is given beside it; it is conservative for discrete p.
Source: random canaries as sound evidence, Zhang, Das, Kamath and Tramer 2024 (arXiv 2409.19798);
the statistic is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mia_bench.metrics.roc import Floats


@dataclass(frozen=True)
class RankTest:
    """One-sided p over all pictures, Fisher's p, and the p of every picture in the order given."""

    p_value: float
    fisher: float
    pictures: tuple[float, ...]


def rank_test(published: Sequence[float], variants: Sequence[ArrayLike]) -> RankTest:
    """Do published versions rank higher than chance among their variants?

    published: one score a picture; variants: the scores (N_i,) of its unpublished versions.
    Raises ValueError for lengths that differ, a picture without variants, or scores not finite.
    """
    from scipy.stats import chi2

    if len(published) != len(variants) or not len(published):
        raise ValueError(f"{len(published)} published scores for {len(variants)} sets of variants")
    above, sizes = [], []
    for score, others in zip(published, variants, strict=True):
        kept = np.asarray(others, dtype=np.float64)
        if kept.ndim != 1 or not kept.size:
            raise ValueError("a picture has no variants: each needs at least one")
        if not (np.isfinite(score) and np.isfinite(kept).all()):
            raise ValueError("scores hold values that are not finite")
        above.append(int((kept >= score).sum()))
        sizes.append(kept.size)
    each = [(1 + v) / (n + 1) for v, n in zip(above, sizes, strict=True)]
    fisher = float(chi2.sf(-2 * np.log(each).sum(), 2 * len(each)))
    share = uniform_sum(sizes)[: sum(above) + 1].sum()
    return RankTest(min(1.0, float(share)), fisher, tuple(each))


def uniform_sum(sizes: Sequence[int]) -> Floats:
    """P(U_1 + ... + U_k = s) for s = 0 .. sum(sizes), U_i uniform on 0 .. sizes[i]."""
    mass: Floats = np.ones(1)
    for n in sizes:
        mass = np.convolve(mass, np.full(n + 1, 1 / (n + 1)))
    return mass


def smallest_rank_p(sizes: Sequence[int]) -> float:
    """p when every published version ranks first: the smallest that these numbers allow."""
    return float(np.prod([1 / (n + 1) for n in sizes]))
