"""mismatch.py against its formula, one sample at a time, and what it shares."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.residuals.mismatch import GENERIC_CAPTIONS, CaptionMismatch
from mia_bench.target import Batch

OTHERS = ("bafex gimlut", "namep")


def test_equals_the_formula(literal, measure, attack_fixtures):
    attack = CaptionMismatch(OTHERS)
    features = measure(attack, literal.target, literal.batch)
    losses = np.zeros((4, 4))
    for i in literal.rows:
        z0, e = literal.z0(i), literal.noise(i, 450)
        z_t = literal.a(450) * z0 + literal.b(450) * e
        for j, caption in enumerate((literal.batch.caption[i], "", *OTHERS)):
            losses[i, j] = float((literal.eps(z_t, 450, caption) - e).square().mean())
    np.testing.assert_allclose(features["loss"], losses, rtol=1e-4)
    assert literal.target.queries["forward"] == literal.target.queries["asked"] == 4 * 4
    attack_fixtures.assert_row_by_row(attack, features)


def test_the_score_is_the_rise_of_the_loss(attack_fixtures):
    features = {"loss": np.array([[1.0, 2.0, 3.0, 5.0], [2.0, 2.5, 2.0, 2.0]])}
    own, empty = CaptionMismatch(OTHERS), CaptionMismatch(OTHERS, against="empty")
    assert own.score(features, attack_fixtures.NOTHING).tolist() == [3.0, 0.0]
    assert empty.score(features, attack_fixtures.NOTHING).tolist() == [2.0, -0.5]
    assert own.needs_captions
    assert not empty.needs_captions
    assert empty.needs_text


def test_a_model_that_reads_no_captions_gives_nothing(answering, measure, attack_fixtures):
    case = answering(lambda z, _: 0.3 * z)
    attack = CaptionMismatch()
    scores = attack.score(measure(attack, case.target, case.batch), attack_fixtures.NOTHING)
    np.testing.assert_allclose(scores, 0, atol=1e-6)


def test_a_score_does_not_depend_on_who_shares_the_batch(literal, measure):
    batch, attack = literal.batch, CaptionMismatch()
    whole = measure(attack, literal.target, batch)["loss"]
    alone = Batch(batch.sample_id[2:3], batch.image[2:3], batch.caption[2:3])
    # a batched U-Net rounds differently from single rows
    np.testing.assert_allclose(
        measure(attack, literal.target, alone)["loss"], whole[2:3], rtol=1e-4
    )


def test_the_captions_own_and_null_losses_are_clids(literal):
    target, batch = literal.target, literal.batch
    CLiD().features(target, batch)
    before = target.queries["forward"]
    target.start_attack()
    CaptionMismatch().features(target, batch)
    assert target.queries["forward"] - before == len(GENERIC_CAPTIONS) * 4
    assert CaptionMismatch().nfe == (8, 0)


@pytest.mark.parametrize("captions", [(), ("",), ("a", " "), ("a", "a")])
def test_captions_that_mean_nothing_are_refused(captions):
    with pytest.raises(ValueError, match="captions="):
        CaptionMismatch(captions)
