"""Charts: thinned curves, whole histograms, thresholds inside them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mia_bench.display import charts
from mia_bench.display.charts import READ_RATES, Curve, histogram, readings, roc_chart, thin
from mia_bench.metrics import roc_curve, tpr_at_fpr
from mia_bench.report import figures
from mia_bench.report.load import read_outputs


@pytest.fixture
def runs(tmp_path, write_run):
    for mitigation in ("none", "augment"):
        for seed in (0, 1):
            for step in ("100", "300"):
                for attack in ("clid", "loss")[: 2 - seed]:
                    node = {} if mitigation == "none" else {mitigation: {}}
                    key = f"{mitigation}{seed}".ljust(16, "0")
                    write_run(
                        tmp_path, attack, 1.0, key, step, seed=seed, mitigation=node, nfe=seed * 9.0
                    )
    return read_outputs([tmp_path])[0]


def test_a_threshold_outside_the_histogram_is_not_drawn(runs):
    with_rule = figures.histogram_figure(runs[0], "h").chart
    assert 'class="r"' in with_rule
    bins = runs[0].histogram
    far = charts.Histogram(bins.edges, bins.members, bins.nonmembers, 1e9)
    assert 'class="r"' not in charts.histogram_chart(far, "t")


def test_a_thinned_curve_draws_the_same(scores):
    table = scores(0.5, 0, n=4000)
    full = roc_curve(table.score, table.is_member)
    small = thin(full)
    assert len(small.fpr) < len(full.fpr) / 3
    assert small.fpr[-1] == small.tpr[-1] == 1
    at = np.geomspace(1e-3, 1, 200)
    wanted = np.interp(at, full.fpr, full.tpr)
    drawn = np.interp(at, small.fpr, small.tpr)
    assert np.abs(np.log10(drawn / wanted)).max() < 0.05


def test_curves_and_bins_say_their_values_to_a_pointer(scores):
    table = scores(0.5, 0, n=4000)
    full = roc_curve(table.score, table.is_member)
    thinned = thin(full)
    expected = [(rate, tpr_at_fpr(table.score, table.is_member, rate).value) for rate in READ_RATES]
    assert readings(thinned) == expected
    drawn = roc_chart([Curve("clid", thinned, 0.6, 0)], "t")
    titles = [node.text for node in ET.fromstring(drawn).iter() if node.tag.endswith("title")]
    assert titles == [
        "clid, AUC 0.600",
        *(f"clid: TPR {tpr:.3g} at FPR {rate:g}" for rate, tpr in expected),
    ]
    some = table.iloc[::200]
    few = thin(roc_curve(some.score, some.is_member))
    assert [rate for rate, _ in readings(few)] == [0.1, 0.5]

    bins = histogram(table, None)
    chart = ET.fromstring(charts.histogram_chart(bins, "t"))
    titles = [node.text for node in chart.iter() if node.tag.endswith("title")]
    assert len(titles) == np.count_nonzero(bins.members + bins.nonmembers)
    assert titles[0] == (
        f"score {bins.edges[0]:.3g} to {bins.edges[1]:.3g}: {100 * bins.members[0]:.2g} % of "
        f"members, {100 * bins.nonmembers[0]:.2g} % of non-members"
    )


def test_a_histogram_holds_every_row(scores):
    table = scores(2.0, 0)
    bins = histogram(table, 0.5)
    assert bins.members.sum() == pytest.approx(1)
    assert bins.nonmembers.sum() == pytest.approx(1)
    flat = histogram(table.assign(score=1.0), None)
    assert flat.members.sum() == pytest.approx(1)
