"""Tables and figure of the mitigation study, of outcomes that are made up."""

from __future__ import annotations

import json

import pytest

from mia_bench.studies.mitigation_outcome import Outcome
from mia_bench.studies.mitigation_tables import (
    left_out,
    overview_table,
    privacy_table,
    report,
    spread,
    utility_table,
)


def interval_entry(value):
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return {"value": value, "lo": low, "hi": high}


def outcome(auroc, epsilon=None, clip_score=None):
    utility = {
        "heldout_loss": 0.1,
        "heldout_loss_null": 0.2,
        "member_loss": 0.05,
        "frechet": 3.0,
        "fid": None,
        "clip_score": clip_score,
    }
    return Outcome(
        auroc={"loss": interval_entry(auroc)},
        tpr={"loss": interval_entry(None)},
        change={} if epsilon is None else {"loss": interval_entry(-0.2)},
        utility=utility,
        base=utility,
        asr={"loss": interval_entry(0.7)},
        ignorant={} if epsilon is None else {"loss": interval_entry(auroc - 0.05)},
        ignorant_asr={} if epsilon is None else {"loss": interval_entry(0.6)},
        ignorance={} if epsilon is None else {"loss": interval_entry(-0.05)},
        about={"steps": 300, "chosen_step": None, "privacy": epsilon and {"epsilon": epsilon}},
    )


@pytest.fixture
def study():
    """Two mitigations under two seeds."""
    none = {0: outcome(0.8), 1: outcome(0.9)}
    return {"none": none, "dp": {0: outcome(0.5, 8.0), 1: outcome(0.6, 8.0)}}


def test_means_and_spreads():
    assert spread([0.5, 0.7]) == "0.600 (0.141)"
    assert spread([0.5]) == "0.500"
    assert spread([0.5, None]) == "n/a"


def test_an_overview_has_both_attackers_where_they_differ(study):
    assert overview_table(study) == [
        "| mitigation | loss | held-out loss | frechet |",
        "|---|---|---|---|",
        "| none | 0.850 | 0.1000 | 3.0000 |",
        "| dp | 0.550 / 0.500 | 0.1000 | 3.0000 |",
    ]
    for outcome in study["dp"].values():
        outcome.ignorant["loss"] = outcome.auroc["loss"]
    assert overview_table(study)[-1] == "| dp | 0.550 | 0.1000 | 3.0000 |"


def test_attacks_have_a_line_per_mitigation(study):
    head, _, none, private = privacy_table(study)
    assert head.startswith("| attack | mitigation | AUC, seed 0 | AUC, seed 1 |")
    assert none.startswith(
        "| loss | none | 0.800 [0.70, 0.90] | 0.900 [0.80, 1.00] | 0.850 (0.071)"
    )
    assert "| - | n/a |" in none  # nothing to compare with, and too few non-members
    assert "-0.200 [-0.30, -0.10]; -0.200 [-0.30, -0.10]" in private


def test_what_was_not_measured_has_no_column(study):
    head, _, base, _, private = utility_table(study)
    assert "fid" not in head
    assert "clip_score" not in head
    assert base.startswith("| (base) | 0.1000 (0.0000) |")
    assert private.endswith("| 0.0000 (0.0000) | 300, 300 | 8.00 (0.00) | - |")


def test_an_attacker_who_does_not_know_the_mitigation_has_columns(study):
    head, _, none, private = privacy_table(study)
    assert head.endswith(
        "| ignorant: AUC | ignorant - adaptive per seed | ASR, adaptive | ASR, ignorant |"
    )
    assert none.endswith("| - | - | 0.700 (0.000) | - |")
    assert private.endswith(
        "| 0.500 (0.071) | -0.050 [-0.15, 0.05]; -0.050 [-0.15, 0.05] | 0.700 (0.000) "
        "| 0.600 (0.000) |"
    )


def test_what_a_defence_left_out_is_said():
    one, other = outcome(0.5), outcome(0.5)
    one.about["dropped_rows"] = {"share": 0.25, "steps_without_rows": 0}
    other.about["update_kept"] = 0.75
    assert left_out([one]) == "0.250 of rows"
    assert left_out([other]) == "0.250 of the update"
    assert left_out([outcome(0.5)]) == "-"


def test_everything_is_written(study, tmp_path):
    text = report(study, tmp_path / "study", "0 1").read_text()
    assert text.startswith("`mia-bench mitigations 0 1`, seeds 0, 1.")
    stored = json.loads((tmp_path / "study" / "mitigations.json").read_text())
    assert stored["dp"]["1"]["about"]["privacy"] == {"epsilon": 8.0}
    assert (tmp_path / "study" / "mitigations.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "study" / "mitigations.svg").read_text()
