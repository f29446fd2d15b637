"""How a metric of metrics.json reads in a table."""

from __future__ import annotations

import pytest

from mia_bench.display.metric_columns import cost_columns, metric_columns, metric_text
from mia_bench.metrics.registry import METRICS, Shown

ENTRY = {"value": 0.8123, "lo": 0.77, "hi": 0.85}


@pytest.mark.parametrize(
    ("metrics", "name", "text"),
    [
        ({"auroc": ENTRY}, "auroc", "0.812 [0.77, 0.85]"),
        ({"tpr_at_fpr": {"0.01": {**ENTRY, "low_resolution": True}}}, "tpr_at_fpr_0_01",
         "0.812 [0.77, 0.85]*"),
        ({"tpr_at_fpr": {"0.01": {"value": None, "low_resolution": True}}}, "tpr_at_fpr_0_01",
         "n/a"),
        ({"asr_oracle": 0.8, "asr_oracle_permuted": 0.52}, "asr_oracle", "0.800 (0.520)"),
        ({"asr_oracle": 0.8}, "asr_oracle", "0.800"),
        ({"dataset_test": {"samples_needed": 70}}, "set_size", "70"),
        ({"dataset_test": {"samples_needed": None}}, "set_size", "-"),
        ({}, "set_size", ""),
        ({}, "asr", ""),
    ],
)  # fmt: skip
def test_texts(metrics, name, text):
    assert metric_text(metrics, name) == text


def test_a_table_has_the_metrics_of_its_level():
    for level in Shown:
        shown = [m.label for m in METRICS.values() if m.shown <= level]
        assert [column.heading for column in metric_columns(level)] == shown
    assert len(metric_columns(Shown.EVERYWHERE)) < len(metric_columns(Shown.RUN_TABLES))


def test_costs_and_what_columns_sort_by():
    nfe, seconds = cost_columns()
    metrics = {"nfe_forward": 14.9744, "seconds": 33.4, "auroc": ENTRY}
    assert (nfe.text(metrics), seconds.text(metrics)) == ("14.97", "33")
    assert (nfe.number(metrics), seconds.number(metrics)) == (14.9744, 33.4)
    assert (nfe.text({}), nfe.number({})) == ("", None)
    auc = metric_columns(Shown.EVERYWHERE)[0]
    assert (auc.number(metrics), auc.higher_first) == (0.8123, True)
    assert not metric_columns(Shown.EVERYWHERE)[-1].higher_first  # set size


def test_the_order_in_which_a_narrow_terminal_drops_columns_is_plain():
    """No two columns of a table share a rank, but for those that stay."""
    columns = [*metric_columns(Shown.RUN_TABLES), *cost_columns()]
    dropped = sorted((c for c in columns if c.column.drop_rank), key=lambda c: -c.column.drop_rank)
    assert len({c.column.drop_rank for c in dropped}) == len(dropped)
    assert [c.heading for c in dropped] == [
        *("seconds", "ASR oracle", "TPR@0.1%FPR", "set size", "NFE", "ASR", "TPR@1%FPR"),
    ]
