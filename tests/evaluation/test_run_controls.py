"""Controls of the same rows are judged together, and the verdict is one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.evaluation.run_controls import judge_controls
from mia_bench.metrics.permutation import holm


def metrics(p_image: float = 0.9, p_base: float | None = None, flags: tuple[str, ...] = ()) -> dict:
    controls: dict = {"blind_image": {"auroc": 0.52, "p_value": p_image}}
    if p_base is not None:
        auroc = {"value": 0.6, "lo": 0.5, "hi": 0.7}
        controls["base"] = {"auroc": auroc, "p_value": p_base}
    return {"controls": controls, "flags": list(flags)}


def test_a_shared_control_counts_once_and_base_controls_by_attack():
    verdict = judge_controls([("clid", metrics(p_base=0.4)), ("loss", metrics(p_base=0.6))])
    labels = [control.label for control in verdict.controls]
    assert labels == ["blind_image", "clid base control", "loss base control"]
    base = verdict.controls[1]
    assert (base.auroc, base.lo, base.hi, base.p_value) == (0.6, 0.5, 0.7, 0.4)
    assert verdict.controls[0].lo is None
    assert verdict.sentence == ("Controls: none of 3 tells members from non-members (Holm, 5 %).")


def test_equal_names_with_other_figures_are_other_controls():
    """Two models in one report, attacked alike."""
    verdict = judge_controls([("clid", metrics(p_base=0.4)), ("clid", metrics(p_base=0.5))])
    assert len(verdict.controls) == 3


def test_what_is_flagged_is_named_with_the_smallest_p_first():
    verdict = judge_controls([("clid", metrics(0.01, 0.001))])
    assert verdict.flagged == ["clid base control", "blind_image"]
    assert verdict.sentence.startswith("clid base control, blind_image tell members from non-mem")
    assert "Do not trust" in verdict.sentence
    one = judge_controls([("clid", metrics(0.001))])
    assert one.sentence.startswith("blind_image tells members")


@pytest.mark.parametrize("seed", range(20))
def test_flags_are_those_of_holm_over_all_controls(seed):
    p_values = dict(
        zip("abcdef", np.random.default_rng(seed).beta(0.4, 3, 6).tolist(), strict=True)
    )
    controls = {name: {"auroc": 0.5, "p_value": p} for name, p in p_values.items()}
    assert judge_controls([("x", {"controls": controls})]).flagged == holm(p_values)


def test_what_only_its_own_attack_flags_is_told_apart():
    """p = 0.02 is below 5 % / 2, and not below 5 % / 5."""
    first = ("a", metrics(0.9, 0.02, flags=("control_base",)))
    rest = [(name, metrics(0.9, p)) for name, p in (("b", 0.6), ("c", 0.7), ("d", 0.8))]
    verdict = judge_controls([first, *rest])
    assert verdict.flagged == []
    assert [control.label for control in verdict.flagged_alone] == ["a base control"]
    assert "none of 5" in verdict.sentence
    alone = "Flagged only among the controls of its own attack: a base control."
    assert verdict.sentence.endswith(alone)
    assert judge_controls([first]).flagged == ["a base control"]
    assert judge_controls([first]).flagged_alone == ()


def test_the_stored_form_keeps_its_names():
    """reports/*/controls-*.json of every version are read alike."""
    verdict = judge_controls([("clid", metrics(0.4, 0.01))])
    assert verdict.to_json() == {
        "level": 0.05,
        "p_values": {"blind_image": 0.4, "clid on the base": 0.01},
        "flagged": ["clid on the base"],
        "alone": [],
    }


def test_no_controls_is_said():
    assert judge_controls([("clid", {"controls": {}})]).sentence == "No controls were run."
