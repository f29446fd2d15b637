"""What is known of a mitigation, with and without an attacker who does not know of it."""

from __future__ import annotations

from mia_bench.studies.mitigation_outcome import ATTACKS, Outcome


def test_an_attacker_who_knows_everything_is_all_that_an_unprotected_run_has():
    entry = {"value": 0.8, "lo": 0.7, "hi": 0.9}
    one = Outcome({"loss": entry}, {"loss": entry}, {}, {}, {}, {})
    assert (one.asr, one.ignorant, one.ignorant_asr, one.ignorance) == ({}, {}, {}, {})


def test_every_attack_of_the_study_is_named_once():
    assert len(set(ATTACKS)) == len(ATTACKS)
