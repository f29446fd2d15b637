"""Charts: thinned curves, whole histograms, thresholds inside them."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.display import charts
from mia_bench.display.charts import histogram, thin
from mia_bench.metrics import roc_curve
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


def test_a_histogram_holds_every_row(scores):
    table = scores(2.0, 0)
    bins = histogram(table, 0.5)
    assert bins.members.sum() == pytest.approx(1)
    assert bins.nonmembers.sum() == pytest.approx(1)
    flat = histogram(table.assign(score=1.0), None)
    assert flat.members.sum() == pytest.approx(1)
