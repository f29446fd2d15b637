"""The rule of three values, and that each sentence stands alone."""

from __future__ import annotations

import pytest

from mia_bench.audit.verdict import Answer, decide


@pytest.mark.parametrize("kind", ["owner", "data"])
def test_yes_states_its_rate_of_false_alarms(kind):
    verdict = decide(kind, 0.003, 0.01, 0.7, [])
    assert verdict.answer is Answer.YES
    assert verdict.sentence.startswith("Yes: ")
    assert "p = 0.003" in verdict.sentence
    assert "1 %" in verdict.sentence


def test_no_evidence_says_what_could_have_been_seen():
    verdict = decide("owner", 0.2, 0.01, 0.731, [])
    assert verdict.answer is Answer.NO_EVIDENCE
    assert "73 of 100 pairs" in verdict.sentence
    assert "80 %" in verdict.sentence


def test_a_reason_comes_before_any_p_value():
    verdict = decide("data", 1e-9, 0.01, 0.7, ["the sets differ in size", "they are too few"])
    assert verdict.answer is Answer.CANNOT_SAY
    expected = "Cannot say, because the sets differ in size; and because they are too few."
    assert verdict.sentence == expected


def test_p_at_the_level_is_enough():
    assert decide("data", 0.01, 0.01, None, []).answer is Answer.YES
    assert decide("data", 0.0100001, 0.01, None, []).answer is Answer.NO_EVIDENCE


def test_small_p_values_stay_readable():
    assert "p = 2.8e-05" in decide("data", 2.8e-5, 0.01, None, []).sentence
