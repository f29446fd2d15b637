"""Which runs a page is built from, and where its interval bars lie."""

from __future__ import annotations

import pytest

from mia_bench.report.build import _last, build, interval_bar
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


def test_cost_is_drawn_for_the_latest_step_alone(runs):
    last = _last(runs)
    assert {c.step for c in last} == {"300"}
    assert {c.model_key for c in last} == {c.model_key for c in runs}


def test_interval_bars_lie_where_they_should():
    bar = str(interval_bar({"value": 1.0, "lo": 0.3, "hi": 1.0}))
    assert 'cx="136.0"' in bar
    assert "M43.6,6H136.0" in bar
    assert bar.count('class="tick"') == 5
    low, lower = (interval_bar({"value": v, "lo": v - 0.1, "hi": v}) for v in (0.28, 0.2))
    assert low != lower  # nothing is moved to the edge of the axis
    assert 'class="ci"' not in str(interval_bar({"value": 0.5, "lo": None, "hi": None}))


def test_a_step_that_is_no_number_stops_no_report(tmp_path, write_run):
    """`"²".isdigit()` is true, and int() does not read it."""
    write_run(tmp_path, "clid", 1.0, "k" * 16, "²")
    runs, problems, again = read_outputs([tmp_path])
    assert [row.run.step for row in build("report", runs, problems, again).rows] == ["²"]
