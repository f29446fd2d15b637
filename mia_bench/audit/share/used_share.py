"""The share of a set that was used, from decisions on single pictures, and what it rests on.

A picture is called used where its combined score exceeds a threshold that CALL_FPR of the unseen
pictures exceed. How often a used picture is called so (TPR) can be measured on pictures that are
known to have been used alone; without them TPR is taken as 1, which makes the share a lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mia_bench.attacks import Floats
from mia_bench.metrics import Bools
from mia_bench.metrics.inference.debiased_rate import Decisions, UsedShare, debiased_rate

CALL_FPR = 0.1
"""Rate of unused pictures at which single pictures are called used."""


@dataclass(frozen=True)
class SetShare:
    """Decisions on the pictures in question and on unseen ones; all but `called` and `called_of`
    are None where the unseen pictures are too few for a threshold."""

    called: int
    called_of: int
    fpr: float | None
    used: UsedShare | None


def set_share(scores: Floats, is_first: Bools, known: Floats | None, seed: int) -> SetShare:
    """The share from combined scores (N,).

    Args:
        known: combined scores (M,) of pictures known to have been used, placed among the N.
            Without them, or where they are called used no more often than unseen ones, TPR is 1.
    """
    first, second = scores[is_first], scores[~is_first]
    threshold = call_threshold(second)
    if threshold is None:
        return SetShare(0, first.size, None, None)
    called, false = int((first > threshold).sum()), int((second > threshold).sum())
    unused = Decisions(false, second.size)
    used = None if known is None else known_decisions(known, second)
    if used is not None and used.rate <= unused.rate:
        used = None
    share = debiased_rate(Decisions(called, first.size), unused, used, seed)
    return SetShare(called, first.size, unused.rate, share)


def call_threshold(unseen: Floats) -> float | None:
    """What at most CALL_FPR of unused pictures exceed; None where `unseen` are too few to say."""
    allowed = math.floor(CALL_FPR * (unseen.size + 1)) - 1
    return None if allowed < 0 else float(np.sort(unseen)[::-1][allowed])


def known_decisions(known: Floats, unseen: Floats) -> Decisions | None:
    """How many of the pictures known to have been used are called used; None without any, or
    without a threshold."""
    threshold = call_threshold(unseen)
    if threshold is None or not known.size:
        return None
    return Decisions(int((known > threshold).sum()), known.size)


def tpr_words(used: UsedShare, decisions: Decisions | None) -> str:
    """Which rate of used pictures that are called so the share `used` rests on."""
    if decisions is None:
        return (
            "it is taken that every used picture is called so (TPR 1): known=<folder> of pictures "
            "that are known to have been used measures that, for an estimate instead of a bound"
        )
    counted = f"{decisions.called} of {decisions.rows} pictures known to have been used"
    if used.is_bound:
        return (
            f"{counted} are called so, no larger share than of unseen ones, so they correct "
            "nothing and TPR is taken as 1"
        )
    return f"{counted} are called so, TPR {decisions.rate:.2f}"
