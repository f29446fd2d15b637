"""Pairs of runs: what the page holds is what the project's paired difference says."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from mia_bench.report import pairs
from mia_bench.report.figures import targets_of
from mia_bench.report.load import read_outputs
from mia_bench.report.tables import ordered
from mia_bench.studies.seeds import difference


@pytest.fixture(scope="module")
def runs(tmp_path_factory, write_run, scores):
    """Two attacks on one target, one of them on a second, and one run on other rows."""
    outputs = tmp_path_factory.mktemp("outputs")
    for attack, shift in (("clid", 1.5), ("loss", 1.2), ("mc", 0.1)):
        table = scores(1.0, 0)
        noise = np.random.default_rng(len(attack)).normal(size=len(table))
        write_run(outputs, attack, table=table.assign(score=noise + shift * table.is_member))
    write_run(outputs, "loss", 0.5, "b" * 16, mitigation={"augment": {}})
    write_run(outputs, "pia", table=scores(1.0, 0, 50), model_key="c" * 16)
    results, problems, _ = read_outputs([outputs])
    assert problems == []
    return ordered(results)


def test_every_pair_has_the_difference_that_its_scores_have(runs):
    compared = pairs.pairs_of(targets_of(runs), []).runs
    assert len(compared) == 4
    assert {one.rows for one in compared} == {compared[0].rows}
    for a in compared:
        for b in compared:
            folders = a.run.ref.folder, b.run.ref.folder
            drawn = pairs.difference_of_replicates(a.replicates, b.replicates)
            seed, resamples = pairs._resampling(a.run)
            assert drawn == difference(*folders, seed, resamples)


def test_the_page_holds_replicates_to_a_step_in_65535(runs):
    one = pairs.pairs_of(targets_of(runs), []).runs[0]
    steps = np.frombuffer(base64.b64decode(one.encoded), "<u2")
    np.testing.assert_allclose(steps / 65_535, one.replicates, atol=0.5 / 65_535 + 1e-12)


def test_the_best_attack_of_a_target_is_what_others_stand_beside(runs):
    (target,) = pairs.pairs_of(targets_of(runs), []).targets
    assert target.best == "clid"
    assert [line.attack for line in target.lines] == ["loss", "mc"]
    assert all(line.entry["value"] < 0 for line in target.lines)
    assert [line.p_value for line in target.lines][1] == "< 0.010"  # of 200 resamples
    assert pairs.difference_text(target.lines[1].entry).startswith("-0.")


def test_runs_beyond_the_budget_are_counted(runs, monkeypatch):
    monkeypatch.setattr(pairs, "MAX_COMPARED", 3)
    found = pairs.pairs_of(targets_of(runs), [])
    assert (len(found.runs), found.left_out) == (3, 1)


def test_a_run_alone_on_its_rows_is_compared_with_none(runs):
    alone = [run for run in runs if run.attack == "pia"]
    assert pairs.pairs_of(targets_of(alone), []) == pairs.RunPairs()


def test_scores_that_cannot_be_read_are_a_problem(runs, monkeypatch):
    def fails(*_):
        raise ValueError("torn")

    monkeypatch.setattr(pairs, "read_frame", fails)
    problems = []
    assert pairs.pairs_of(targets_of(runs), problems).runs == ()
    assert {p.what for p in problems} == {"cannot be compared with others: torn"}
