"""How much of a set was used: decisions corrected for those that are wrong.

    share = (D - FPR) / (TPR - FPR)

D is the share of the set's pictures that are called used, FPR that of unused pictures, TPR that of
used ones (as DUCI corrects membership decisions, ml_privacy_meter 2.0). TPR is known only where
pictures are known to have been used; with TPR = 1, its largest value, the share is a lower bound.
The interval: quantiles of the share under independent Jeffreys posteriors of the three rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mia_bench.metrics.roc import Floats
from mia_bench.utils.rng import keyed_generator

DRAWS = 20_000
LEVEL = 0.95


@dataclass(frozen=True)
class UsedShare:
    """Share of a set in [0, 1] with its interval; `is_bound`: no TPR was known, and it is lower."""

    value: float
    lo: float
    hi: float
    is_bound: bool


@dataclass(frozen=True)
class Decisions:
    """`called` of `rows` pictures were called used."""

    called: int
    rows: int

    @property
    def rate(self) -> float:
        return self.called / self.rows

    def posterior(self, rng: np.random.Generator) -> Floats:
        """(DRAWS,) of Beta(called + 1/2, rest + 1/2)."""
        return rng.beta(self.called + 0.5, self.rows - self.called + 0.5, DRAWS)


def debiased_rate(
    claimed: Decisions, unused: Decisions, used: Decisions | None = None, seed: int = 0
) -> UsedShare:
    """The share of `claimed` that was used, from decisions on pictures known not to be and to be.

    Raises ValueError for sets without pictures, or a rule that calls no more used than unused ones.
    """
    sets = [claimed, unused, *([] if used is None else [used])]
    if any(decisions.rows < 1 for decisions in sets):
        raise ValueError("a rate needs pictures: one of the sets has none")
    if (1.0 if used is None else used.rate) <= unused.rate:
        raise ValueError("the rule calls no more of the used pictures than of the unused ones")
    rng = keyed_generator(seed, "debiased rate")
    rates = [decisions.posterior(rng) for decisions in sets]
    tpr = np.ones(DRAWS) if used is None else rates[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(tpr > rates[1], (rates[0] - rates[1]) / (tpr - rates[1]), np.nan)
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    lo, hi = np.nanquantile(np.clip(shares, 0, 1), tails)
    top = 1.0 if used is None else used.rate
    value = float(np.clip((claimed.rate - unused.rate) / (top - unused.rate), 0, 1))
    return UsedShare(value, min(float(lo), value), max(float(hi), value), used is None)
