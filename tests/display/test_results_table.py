"""The terminal table: figures, missing figures, and the verdict of the controls."""

from __future__ import annotations

from pathlib import Path

from mia_bench.display.console import interval
from mia_bench.display.results_table import columns, comparisons, rows, show, verdict_line
from mia_bench.evaluation.run_controls import ControlVerdict, judge_controls

ENTRY = {"value": 0.8123, "lo": 0.77, "hi": 0.85}
METRICS = {
    "auroc": ENTRY,
    "tpr_at_fpr": {"0.01": {**ENTRY, "low_resolution": True}},
    "asr": ENTRY,
    "asr_oracle": 0.76,
    "asr_oracle_permuted": 0.53,
    "nfe_forward": 14.97,
    "seconds": 33.4,
    "dataset_test": {"samples_needed": 70},
    "n_members": 10,
    "n_nonmembers": 20,
    "controls": {},
}


def with_controls(p_image: float, p_base: float) -> dict:
    base = {**METRICS, "p_value": p_base}
    controls = {"blind_image": {"auroc": 0.61, "p_value": p_image}, "base": base}
    return {**METRICS, "controls": controls}


def judged(results: list) -> ControlVerdict:
    return judge_controls((name, metrics) for name, metrics, _ in results)


def verdict(results: list) -> str:
    return verdict_line(judged(results))


def test_intervals_and_missing_figures():
    assert interval(ENTRY) == "0.812 [0.77, 0.85]"
    assert interval({"value": None, "lo": None, "hi": None}) == "n/a"
    assert interval({"value": 0.5, "lo": None, "hi": None}) == "0.500 [n/a]"


def test_a_row_per_attack_and_one_for_its_base():
    (attack,) = rows("clid", METRICS)
    headings = ["attack", *(column.heading for column in columns())]
    cells = dict(zip(headings, attack, strict=True))
    assert cells["attack"] == "clid"
    assert cells["AUC"] == "0.812 [0.77, 0.85]"
    assert cells["TPR@1%FPR"] == "0.812 [0.77, 0.85]*"
    assert cells["ASR oracle"] == "0.760 (0.530)"
    assert (cells["set size"], cells["NFE"], cells["seconds"]) == ("70", "14.97", "33")
    assert [line[0].strip() for line in rows("clid", with_controls(0.5, 0.5))] == [
        "clid",
        "base control",
    ]


def test_the_verdict_names_what_was_found():
    quiet = [("clid", with_controls(0.4, 0.3), Path())]
    assert verdict(quiet) == ("Controls: none of 2 tells members from non-members (Holm, 5 %).")
    loud = [("clid", with_controls(0.001, 0.3), Path())]
    assert verdict(loud).startswith("WARNING: blind_image tells members")
    assert verdict([("clid", METRICS, Path())]) == "No controls were run."


def test_controls_of_all_attacks_are_judged_together():
    """p = 0.02 alone would be flagged; among four base rows it is not."""
    alone = [("a", with_controls(0.9, 0.02), Path())]
    assert "WARNING" in verdict(alone)
    many = [
        (name, with_controls(0.9, p), Path())
        for name, p in zip("abcd", (0.02, 0.6, 0.7, 0.8), strict=True)
    ]
    assert "none of 5" in verdict(many)


def test_the_table_is_printed_whole(capsys):
    show([("clid", with_controls(0.4, 0.3), Path("outputs/runs/x"))], "title of the run")
    said = capsys.readouterr().out
    for part in (
        "title of the run",
        "0.812 [0.77, 0.85]",
        "blind_image",
        "base control",
        "outputs/runs/x",
    ):
        assert part in said
    assert "…" not in said


def test_what_is_flagged_is_marked_where_it_stands(capsys):
    loud = [
        ("clid", with_controls(0.001, 0.01), Path()),
        ("loss", with_controls(0.001, 0.6), Path()),
    ]
    assert judged(loud).flagged == ["blind_image", "clid base control"]
    show(loud, "title")
    said = capsys.readouterr().out
    assert "blind_image !" in said
    assert said.count("base control !") == 1


def test_a_flag_stored_with_an_attack_and_not_shared_by_the_run_is_told():
    """p = 0.02 is flagged among two controls of its own, and not among five of the run."""
    many = [
        (name, with_controls(0.9, p), Path())
        for name, p in zip("abcd", (0.02, 0.6, 0.7, 0.8), strict=True)
    ]
    many[0][1]["flags"] = ["low_resolution_tpr_0_01", "control_base"]
    assert judged(many).to_json()["alone"] == ["a on the base"]
    assert "none of 5 tells members from non-members" in verdict(many)
    said = "Flagged only among the controls of its own attack: a base control."
    assert said in verdict(many)
    assert judged(many[:1]).to_json()["alone"] == []
    assert judged(many[:1]).to_json()["flagged"] == ["a on the base"]


def test_a_claim_beside_a_plain_attack_is_shown(capsys):
    plain = {"name": "pixel error", "auroc": 0.801, "difference": {"value": 0.011, "lo": -0.01,
             "hi": 0.03}, "agree": True, "remark": "They agree: nothing follows."}  # fmt: skip
    results = [("loss", METRICS, Path()), ("drc", {**METRICS, "plain": plain}, Path())]
    (line,) = comparisons(results)
    assert line.startswith(
        "drc: AUC 0.812, pixel error 0.801, difference 0.011 [-0.01, 0.03]. They"
    )
    show(results, "title")
    assert line in " ".join(capsys.readouterr().out.split())


def test_the_ensemble_is_compared_with_the_best_single_attack():
    best = {"attack": "sima", "difference": {"auroc": {"value": 0.06, "lo": 0.04, "hi": 0.09}}}
    metrics = {**METRICS, "compared": {"best_by_calibration": best}}
    metrics["chosen"] = {"C": 0.1, "pia.distance": 0.8, "clid.loss[4,:]": -0.5}
    (line,) = comparisons([("ensemble", metrics, Path())])
    assert line == (
        "ensemble: AUC minus that of sima 0.060 [0.04, 0.09]; features with the most weight: "
        "pia.distance, clid.loss[4,:]."
    )
