"""Controls are judged once per set of rows; published figures get a badge, never a verdict."""

from __future__ import annotations

import pytest

from mia_bench.report.controls import compared, families, published
from mia_bench.report.load import read_outputs
from mia_bench.storage.files import read_json, write_json


def read(outputs):
    """Runs with their stored p-values, which these tests choose."""
    return read_outputs([outputs], intervals=False)[0]


def test_shared_controls_count_once_and_base_rows_by_attack(tmp_path, write_run, quiet):
    for attack in ("clid", "loss"):
        for step in ("100", "300"):
            write_run(tmp_path, attack, step=step, controls=quiet())
    (family,) = families(read(tmp_path))
    names = [control.label for control in family.controls]
    assert names == ["blind_image", "clid base control", "loss base control"]
    assert family.sentence == ("Controls: none of 3 tells members from non-members (Holm, 5 %).")


def test_what_is_found_is_named(tmp_path, write_run, quiet):
    write_run(tmp_path, controls=quiet(p_image=0.001))
    (family,) = families(read(tmp_path))
    assert family.flagged == ["blind_image"]
    assert "Do not trust" in family.sentence


def test_holm_goes_over_the_rows_of_a_family(tmp_path, write_run, quiet):
    """p = 0.02 alone is below 5 %, but not the smallest of five."""
    for attack, p in zip("abcd", (0.02, 0.6, 0.7, 0.8), strict=True):
        write_run(tmp_path, attack, controls=quiet(p_base=p))
    (family,) = families(read(tmp_path))
    assert len(family.controls) == 5
    assert family.flagged == []


def test_rows_without_controls_say_so(tmp_path, write_run):
    write_run(tmp_path, controls={})
    (family,) = families(read(tmp_path))
    assert family.sentence == "No controls were run."


def test_other_rows_are_another_family(tmp_path, write_run):
    write_run(tmp_path)
    write_run(tmp_path, eval={"seed": 1, "resamples": 200})
    assert len(families(read(tmp_path))) == 2


def test_a_published_figure_is_inside_or_outside_the_interval(tmp_path, write_run):
    figures = {"auroc": 0.999, "asr": 0.7, "tpr_at_fpr_0_01": 0.5}
    said = {"source": "a paper", "comparable": "no: other data", "notes": ["one", "two"]}
    write_run(tmp_path, published={**said, "attacks": {"clid": figures}})
    (run,) = read(tmp_path)
    found, problems = published(run)
    assert problems == []
    by_name = {p.metric: p for p in found}
    assert by_name["AUC"].outside is True
    lo, hi = run.metrics["asr"]["lo"], run.metrics["asr"]["hi"]
    assert by_name["ASR"].outside is (not lo <= 0.7 <= hi)
    assert by_name["TPR@1%FPR"].value == 0.5
    assert by_name["AUC"].source == "a paper"
    assert by_name["AUC"].comparable == "no: other data"
    assert by_name["AUC"].notes == ("one", "two")


@pytest.mark.parametrize("value", [96.5, "0.9", -1, True, float("nan")])
def test_published_figures_that_are_no_share_are_named(tmp_path, write_run, value):
    node = {"source": "x", "attacks": {"clid": {"auroc": value}}}
    write_run(tmp_path, published=node)
    (run,) = read(tmp_path)
    found, (problem,) = published(run)
    assert found == []
    assert "between 0 and 1" in problem.what


@pytest.mark.parametrize(
    "node", [None, {}, {"source": "x"}, {"attacks": {"loss": {"auroc": 0.5}}}, {"attacks": []}, "x"]
)
def test_nothing_published_is_nothing(tmp_path, write_run, node):
    write_run(tmp_path, published=node)
    (run,) = read(tmp_path)
    assert published(run) == ([], [])


def test_comparisons_are_told_with_their_target_and_old_ones_are_a_problem(
    tmp_path, write_run, reseal
):
    good, old = write_run(tmp_path, "drc"), write_run(tmp_path, "ensemble")
    apart = {"value": -0.001, "lo": -0.03, "hi": 0.03}
    plain = {"name": "<pixel>", "auroc": 0.604, "difference": apart, "remark": "They agree."}
    for folder, more in ((good, {"plain": plain}), (old, {"compared": {}})):
        write_json(folder / "metrics.json", {**read_json(folder / "metrics.json"), **more})
        reseal(folder)
    (said,), (problem,) = compared(read(tmp_path))
    assert "<pixel> 0.604, difference -0.001 [-0.03, 0.03]. They agree." in said.sentence
    assert "seed 0" in said.where
    assert "best_by_calibration" in problem.what
