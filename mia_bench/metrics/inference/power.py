"""The smallest leak that a test would have shown: what "no evidence" is worth.

A leak is an AUROC A, the probability that a used picture scores above an unused one. The test
rejects when the estimate exceeds 1/2 + z_a s_0; it does so with probability `power` when

    A = 1/2 + z_a s_0 + z_b s_A

s_0^2 = (n1 + n0 + 1) / (12 n1 n0) is the variance without a leak, s_A^2 that of Hanley and McNeil
(1982, Radiology 143): (A (1 - A) + (n1 - 1)(Q1 - A^2) + (n0 - 1)(Q2 - A^2)) / (n1 n0) with
Q1 = A / (2 - A) and Q2 = 2 A^2 / (1 + A). Among variants n1 is one and n0 = N, over k pictures.
Normal quantiles; tests/metrics/inference/test_power.py and docs/honesty.md compare with simulation.
"""

from __future__ import annotations

from collections.abc import Callable

from mia_bench.metrics.inference.exact_permutation import smallest_p
from mia_bench.metrics.inference.rank_test import smallest_rank_p

POWER = 0.8


def smallest_leak(members: int, others: int, alpha: float, power: float = POWER) -> float | None:
    """AUROC that the permutation test shows with probability `power`.

    None where the sizes let no p reach `alpha`.
    """
    if smallest_p(members, others) > alpha:
        return None
    null = (members + others + 1) / (12 * members * others)
    return _solve(null, lambda area: _variance(area, members, others), alpha, power)


def smallest_rank_leak(
    pictures: int, variants: int, alpha: float, power: float = POWER
) -> float | None:
    """The same for the rank test: the probability that a published version beats a variant."""
    if smallest_rank_p([variants] * pictures) > alpha:
        return None
    null = (variants + 2) / (12 * variants * pictures)
    return _solve(null, lambda area: _variance(area, 1, variants) / pictures, alpha, power)


def _variance(area: float, n1: int, n0: int) -> float:
    """Hanley and McNeil's, of an AUROC of n1 and n0 rows."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)
    return max(spread, 0.0) / (n1 * n0)


def _solve(null: float, variance: Callable[[float], float], alpha: float, power: float) -> float:
    """The area at which the two sides of the module's equation meet, at most 1."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    needed = 0.5 + norm.isf(alpha) * null**0.5

    def lacking(area: float) -> float:
        return float(area - needed - norm.ppf(power) * variance(area) ** 0.5)

    return 1.0 if lacking(1.0) <= 0 else float(brentq(lacking, 0.5, 1.0))
