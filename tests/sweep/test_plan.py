"""Efforts are counted once, jobs are named by what differs, parallel ones start apart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mia_bench.planning.make_plan import Memo, make_plan
from mia_bench.storage.artifacts import seal
from mia_bench.sweep.plan import (
    Job,
    PlannedExtraction,
    PlannedTraining,
    effort,
    is_finished,
    label,
    plan_job,
    spread,
    varying,
)
from mia_bench.sweep.throughput import Rates


def job(*models: str, tables: str = "", name: str = "x") -> Job:
    return Job(
        (f"attack={name}",),
        Path("out"),
        train=tuple(PlannedTraining(Path(m), "base", 32, 100) for m in models),
        extract=tuple(PlannedExtraction(Path(t), "base", "clid", 10, 15) for t in tables),
    )


def test_what_jobs_share_is_counted_once():
    jobs = [job("t", "s", tables="abz"), job("t", "s", tables="cdz")]
    found = effort(jobs, Rates())
    assert (found.models, found.steps, found.nfe) == (2, 200, 5 * 150)
    assert found.seconds is None


def test_time_comes_from_measured_rates_alone():
    rates = Rates({("base", 32): 0.5}, {("base", "clid"): 0.1})
    found = effort([job("t", tables="ab")], rates)
    assert (found.training, found.extraction) == (50, pytest.approx(2.0))
    assert found.seconds == pytest.approx(52)
    elsewhere = Rates({("base", 64): 0.5}, {("other", "clid"): 0.1})
    assert effort([job("t")], elsewhere).seconds is None
    assert effort([], elsewhere).seconds == 0


def test_jobs_are_named_by_what_differs():
    combinations = [["a=1", "b=2", "c=x"], ["a=1", "b=3", "c=x"]]
    keys = varying(combinations)
    assert keys == ["b"]
    assert [label(c, keys) for c in combinations] == ["b=2", "b=3"]
    assert label(["a=1"], []) == "the only job"


def test_parallel_jobs_start_with_different_models():
    first, second = job("t", name="clid"), job("t", name="pia")
    other, scored = job("u", name="clid"), job(name="loss")
    assert spread([first, second, other, scored]) == [first, other, scored, second]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


def test_the_plan_of_a_job_lists_what_is_missing(small, outputs):
    memo = Memo()
    experiment = small("attack=loss", outputs=outputs)
    planned = plan_job(experiment, ["attack=loss"], memo)
    assert [name for name, _ in planned.runs] == ["loss"]
    assert {t.steps for t in planned.train} == {4}
    assert len(planned.train) == 2
    assert sorted(a.rows for a in planned.extract) == [24, 36, 36]
    assert not planned.finished
    assert planned.names == [make_plan(experiment).runs[0].folder.relative_to(outputs).as_posix()]


def test_a_job_that_was_killed_before_its_figures_is_not_finished(small, tmp_path):
    plan = make_plan(small("attack=loss", outputs=tmp_path))
    for _, folder in plan.table:
        folder.mkdir(parents=True)
        seal(folder, {})
    assert not is_finished(plan)
    for path in plan.reports:
        assert not is_finished(plan)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert is_finished(plan)


@pytest.mark.long
def test_a_thousand_plans_list_the_data_once(small, outputs, monkeypatch):
    experiment, memo = small("attack=loss", outputs=outputs), Memo()
    make_plan(experiment, memo)
    listed = []
    monkeypatch.setattr(type(experiment.source), "items", lambda self: listed.append(self))
    began = time.process_time()
    plans = [plan_job(experiment, [], memo) for _ in range(20)]
    assert (time.process_time() - began) / 20 < 0.1  # 0.03 s; listing anew takes 0.4 s
    assert listed == []
    monkeypatch.undo()
    assert plans[0].runs == plan_job(experiment, [], Memo()).runs
