"""An interval of AUROC for a few rows: DeLong's variance on the logit scale.

    V_i = share of the others below member i (half of those beside it),  W_j likewise of other j
    A = mean V,   v = var(V) / n1 + var(W) / n0          (DeLong, DeLong, Clarke-Pearson 1988)
    logit A +- q sqrt(v) / (A (1 - A))                    (Pepe 2003, section 5.2)

q is Student's t. Its degrees of freedom are the smaller of Satterthwaite's for the two variances
and 2 k + 1, where k = A (1 - A) min(A, 1 - A) / v is the number of rows out of order that A is
worth (as `intervals.auroc_interval`). Where nothing is out of order v says nothing, and limits come
from the two rates of a threshold between the sets.

Where next to nothing is out of order v says little, and the limits above reach from near 0 to 1:
two of 100 pairs gave .98 [.33, 1.00]. No limit lies beyond what the best threshold leaves open,
`intervals.left_by_threshold`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mia_bench.metrics import roc
from mia_bench.metrics.intervals import auroc_interval, jeffreys, left_by_threshold
from mia_bench.metrics.roc import Bools, Floats

LEVEL = 0.95
MIN_ROWS = 2  # of each class, for a variance


def delong_interval(
    scores: ArrayLike, is_member: ArrayLike, level: float = LEVEL
) -> tuple[float, float | None, float | None]:
    """(AUROC, lo, hi) of rows (N,) that are independent; limits None below MIN_ROWS of a class.

    Raises ValueError as `roc.validate`.
    """
    from scipy.stats import t

    s, y = roc.validate(scores, is_member)
    area, n1, n0 = roc.auroc(s, y), int(y.sum()), int((~y).sum())
    if min(n1, n0) < MIN_ROWS:
        return area, None, None
    if area in (0, 1):
        apart = np.zeros(1), jeffreys(1.0, n1), jeffreys(0.0, n0)
        return area, *auroc_interval(area, *apart)
    member, other = placements(s, y)
    parts = member.var(ddof=1) / n1, other.var(ddof=1) / n0
    variance = sum(parts)
    if variance == 0:  # one value on either side: the placements are all alike
        return area, 0.0, 1.0
    freedom = variance**2 / (parts[0] ** 2 / (n1 - 1) + parts[1] ** 2 / (n0 - 1))
    out_of_order = area * (1 - area) * min(area, 1 - area) / variance
    quantile = t.ppf((1 + level) / 2, min(freedom, 2 * out_of_order + 1))
    reach = quantile * np.sqrt(variance) / (area * (1 - area))
    odds = np.log(area / (1 - area))
    lo, hi = 1 / (1 + np.exp(-(odds + np.array([-reach, reach]))))
    least, most = left_by_threshold(s, y, np.arange(s.size))
    return area, max(float(lo), least), min(float(hi), most)


def placements(scores: Floats, is_member: Bools) -> tuple[Floats, Floats]:
    """V (n1,) and W (n0,): the place of each row among the rows of the other class."""
    member, other = scores[is_member], np.sort(scores[~is_member])
    return _below(member, other), 1 - _below(scores[~is_member], np.sort(member))


def _below(values: Floats, ordered: Floats) -> Floats:
    """The share of `ordered` below each value, half of what is equal."""
    sides = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1]) / (2 * ordered.size))
