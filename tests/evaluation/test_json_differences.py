"""What differs between stored and recomputed figures, within what tolerance, in words."""

from __future__ import annotations

import pytest

from mia_bench.evaluation.json_differences import (
    OTHER_METRICS,
    OTHER_VERSIONS,
    json_differences,
    with_stored_draws,
)

STORED = {
    "auroc": {"value": 0.81, "lo": 0.7, "hi": 0.9},
    "tpr_at_fpr": {"0.01": {"value": None, "k": 0}},
    "asr_oracle_permuted": 0.52,
    "controls": {"base": {"auroc": {"value": 0.5}, "p_value": 0.4}},
    "dataset_test": {"samples_needed": 20, "sizes": [2, 3], "p_value": [0.4, 0.2]},
    "flags": ["low"],
}


def changed(*path: str, to: object) -> dict:
    """A copy of STORED with one leaf changed."""
    if not path:
        raise ValueError("a path is needed")
    copy = {key: dict(v) if isinstance(v, dict) else v for key, v in STORED.items()}
    place = copy
    for key in path[:-1]:
        place[key] = dict(place[key])
        place = place[key]
    place[path[-1]] = to
    return copy


def test_equal_figures_differ_nowhere_and_rounding_is_no_difference():
    assert json_differences(STORED, STORED) == []
    assert json_differences(STORED, changed("auroc", "value", to=0.81 + 1e-12)) == []


@pytest.mark.parametrize(
    ("path", "to", "line"),
    [
        (("auroc", "value"), 0.79, "auroc.value 0.79, stored 0.81"),
        (("auroc", "lo"), None, "auroc.lo None, stored 0.7"),
        (("tpr_at_fpr", "0.01", "value"), 0.1, "tpr_at_fpr.0.01.value 0.1, stored None"),
        (("flags",), [], "flags [], stored ['low']"),
        (("controls", "base", "p_value"), 0.5, "controls.base.p_value 0.5, stored 0.4"),
        (("dataset_test", "sizes"), [2], "dataset_test.sizes [2], stored [2, 3]"),
    ],
)
def test_every_leaf_that_differs_is_named(path, to, line):
    assert json_differences(STORED, changed(*path, to=to)) == [line]


def test_entries_on_one_side_alone_differ():
    more = {**STORED, "better": 1}
    assert json_differences(STORED, more) == ["better 1, stored None"]
    assert json_differences(more, STORED) == ["better None, stored 1"]


def test_truth_values_are_compared_as_such():
    assert json_differences({"agree": True}, {"agree": True}) == []
    assert json_differences({"agree": True}, {"agree": 0}) == ["agree 0, stored True"]


@pytest.mark.parametrize(
    ("path", "to"),
    [(("auroc", "hi"), 0.905), (("asr_oracle_permuted",), 0.53), (("auroc", "value"), 0.805)],
)
def test_what_is_drawn_at_random_may_move_with_other_versions(path, to):
    """Bounds and permutation figures do, values do not."""
    other = changed(*path, to=to)
    assert len(json_differences(STORED, other)) == 1
    assert bool(json_differences(STORED, other, OTHER_VERSIONS)) == (path[-1] == "value")


def test_other_metrics_compare_nothing_that_is_drawn():
    other = {**STORED, "dataset_test": None, "asr_oracle_permuted": None}
    other["auroc"] = {"value": 0.81, "lo": None, "hi": 0.1}
    assert json_differences(STORED, other, OTHER_METRICS) == []
    assert json_differences(STORED, changed("auroc", "value", to=0.8), OTHER_METRICS)


def test_stored_draws_are_taken_over_and_values_are_not():
    new = {
        "auroc": {"value": 0.8, "lo": None, "hi": None},
        "controls": {"base": {"auroc": {"value": 0.6}}},
        "asr_oracle_permuted": 0.1,
        "flags": [],
    }
    merged = with_stored_draws(new, STORED)
    assert merged["auroc"] == {"value": 0.8, "lo": 0.7, "hi": 0.9}
    assert merged["controls"]["base"] == {"auroc": {"value": 0.6}, "p_value": 0.4}
    assert merged["asr_oracle_permuted"] == 0.52
    assert merged["dataset_test"] == STORED["dataset_test"]
    assert merged["flags"] == []
    assert with_stored_draws(new, None) == new
