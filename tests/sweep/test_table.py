"""What a sweep says before and after: counts, names, failures, and what cannot be read."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from mia_bench.execution.run import failure_of
from mia_bench.storage.failures import record_failure
from mia_bench.sweep.plan import Effort, Job, PlannedExtraction, PlannedTraining
from mia_bench.sweep.table import describe, hint, show


def done(folder: Path, outputs: Path, name: str = "clid") -> Job:
    return Job((f"attack={name}",), outputs, runs=((name, folder),), finished=True)


def test_the_plan_counts_and_names(store_cell, tmp_path):
    ready = done(store_cell(tmp_path), tmp_path)
    todo = Job(
        ("attack=pia",),
        tmp_path,
        runs=(("pia", tmp_path / "runs" / "x" / "1" / "pia-1"),),
        train=(PlannedTraining(tmp_path / "t", "b", 32, 300),),
        extract=(PlannedExtraction(tmp_path / "f", "b", "pia", 100, 2),),
    )
    never = Job(("attack=gsa",), tmp_path, problem="no such access\nmore")
    work = Effort(1, 300, 200, 120.0, 6000.0)
    said = describe([ready, todo, never], [todo], ["attack"], work, parallel=True)
    assert "3 jobs, 1 to run, 1 that cannot be run" in said
    assert "cells   1 of 2 done" in said
    assert "at most 200 U-Net evaluations" in said
    assert "about 1.7 h as measured on this machine (fine-tunes 2 min, queries 1.7 h, less" in said
    assert "#0   attack=pia: 1 to fine-tune, at most 200 evaluations" in said
    assert "attack=gsa: cannot be run: no such access" in said


def test_time_is_unknown_without_measurements():
    said = describe([], [], [], Effort(1, 300, 0, None, 0.0), parallel=False)
    assert "unknown" in said


def test_attacks_one_by_one_are_told_of_the_list_form():
    said = hint([["attack=clid", "seed=0"], ["attack=pia", "seed=0"]])
    assert "'attack=[clid,pia]'" in said
    assert hint([["attack=clid", "seed=0"], ["attack=clid", "seed=1"]]) == ""
    assert hint([["attack=[clid,pia]"], ["attack=[loss]"]]) == ""


def test_the_table_reads_results_and_failures_from_disk(store_cell, tmp_path, capsys):
    good = done(store_cell(tmp_path), tmp_path)
    old = done(store_cell(tmp_path, "loss"), tmp_path, "loss")
    (old.runs[0][1] / "metrics.json").write_text('{"auroc": {"value": 0.5}}')
    gone = tmp_path / "runs" / "x" / "300" / "pia-0"
    failed, killed = done(gone, tmp_path, "pia"), done(gone.with_name("mc-0"), tmp_path, "mc")
    record_failure(tmp_path, failure_of(RuntimeError("[red]out of luck"), failed.names, ()))
    jobs = [good, old, failed, killed]
    assert show(jobs, [good, failed, killed], ["attack"]) == 2
    said = capsys.readouterr().out
    assert "FAILED  attack=pia: RuntimeError: [red]out of luck" in said
    assert "FAILED  attack=mc: ended without a message" in said
    assert "was written by another version: KeyError('n_members')" in said
    assert re.search(r"attack=clid +clid +0\.\d{3} \[0\.\d\d, ", said)


def test_a_record_of_another_version_does_not_hide_the_others(tmp_path, capsys):
    gone = done(tmp_path / "runs" / "x" / "300" / "pia-0", tmp_path, "pia")
    path = record_failure(tmp_path, failure_of(RuntimeError("x"), gone.names, ()))
    path.write_text('{"version": 0}')
    assert show([gone], [gone], []) == 1
    assert "unreadable: " in capsys.readouterr().out
    shutil.rmtree(path.parent)


def test_long_jobs_are_shown_whole_with_their_figures(store_cell, tmp_path, capsys):
    job = done(store_cell(tmp_path), tmp_path)
    words = tuple(f"mitigation.augment.option_{i}=0.{i}" for i in range(8))
    long = replace(job, overrides=(*job.overrides, *words))
    assert show([long], [], ["attack", *(w.partition("=")[0] for w in words)]) == 0
    said = capsys.readouterr().out
    assert "…" not in said
    assert " ".join(("attack=clid", *words)) in said
