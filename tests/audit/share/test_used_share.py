"""The share of a set that was used: with TPR from known pictures, and as a bound without."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.audit.share.used_share import (
    call_threshold,
    known_decisions,
    set_share,
    tpr_words,
)

N = 400


def drawn(share: float, seed: int = 0):
    """Scores of a set of which `share` was used, of unseen and of known pictures."""
    rng = np.random.default_rng(seed)
    used = np.arange(N) < share * N
    scores = np.concatenate([rng.normal(size=N) + 1.5 * used, rng.normal(size=N)])
    return scores, np.arange(2 * N) < N, rng.normal(size=N) + 1.5


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_known_pictures_turn_the_bound_into_an_estimate(share):
    """TPR is 0.59 here at an FPR of 0.1, so that the bound lies at about 0.54 of the share."""
    scores, is_first, known = drawn(share)
    bound = set_share(scores, is_first, None, 0).used
    used = set_share(scores, is_first, known, 0).used
    assert bound is not None
    assert used is not None
    assert bound.is_bound
    assert not used.is_bound
    assert used.value == pytest.approx(share, abs=0.12)
    assert used.lo < share < used.hi
    assert bound.value < 0.75 * share


def test_the_estimate_is_the_formula():
    scores, is_first, known = drawn(0.5)
    threshold = call_threshold(scores[~is_first])
    d, fpr, tpr = (float((s > threshold).mean()) for s in (scores[:N], scores[N:], known))
    share = set_share(scores, is_first, known, 0)
    assert fpr <= 0.1
    assert (share.called, share.fpr) == (round(d * N), fpr)
    assert share.used is not None
    assert share.used.value == pytest.approx((d - fpr) / (tpr - fpr))


def test_the_threshold_is_exceeded_by_a_tenth_of_unseen_pictures():
    assert call_threshold(np.arange(8.0)) is None
    assert call_threshold(np.arange(9.0)) == 8.0
    assert call_threshold(np.arange(99.0)) == 89.0


def test_it_is_said_what_the_share_rests_on():
    scores, is_first, known = drawn(0.5)
    bound, used = (set_share(scores, is_first, k, 0).used for k in (None, known))
    assert bound is not None
    assert used is not None
    assert "TPR 1" in tpr_words(bound, None)
    assert "known=<folder>" in tpr_words(bound, None)
    decisions = known_decisions(known, scores[~is_first])
    assert decisions is not None
    words = tpr_words(used, decisions)
    assert f"{decisions.called} of 400 pictures known to have been used" in words
    assert f"TPR {decisions.rate:.2f}" in words


def test_known_pictures_that_nothing_tells_from_unseen_ones_correct_nothing():
    scores, is_first, _ = drawn(0.5)
    blunt = np.full(20, -9.0)
    used = set_share(scores, is_first, blunt, 0).used
    assert used is not None
    assert used == set_share(scores, is_first, None, 0).used
    words = tpr_words(used, known_decisions(blunt, scores[~is_first]))
    assert "0 of 20" in words
    assert "correct nothing" in words


def test_too_few_unseen_pictures_give_no_share():
    share = set_share(np.arange(10.0), np.arange(10) < 5, np.arange(3.0), 0)
    assert (share.fpr, share.used) == (None, None)
