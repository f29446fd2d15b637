"""Processes that share the batches of passes: the bits of one process, whoever asked and died."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from jobs import assert_same, results
from same import computed

from mia_bench.execution import feature_passes, parallel
from mia_bench.execution.feature_passes import extract_features
from mia_bench.planning.make_plan import make_plan
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError
from mia_bench.utils.threads import threads

WORDS = ("attack=[loss,pia]", "eval.batch_size=5", "eval.blind_rows=false")
ROWS = {"target": 36, "shadow": 24, "base": 36}
BATCHES = 8 + 5 + 8


@pytest.fixture
def two_threads():
    with threads(2):
        yield


@pytest.fixture(scope="module")
def alone(small, trained, tmp_path_factory) -> Path:
    """What one process makes, pass after pass."""
    outputs = trained(tmp_path_factory.mktemp("alone"))
    with threads(1):
        extract_features(make_plan(small(*WORDS, outputs=outputs)))
    return outputs


def wait_for_the_worker(monkeypatch) -> list[int]:
    """This process begins once the worker has; returns how many batches it takes, once it has."""
    took, part = [], feature_passes._take_part

    def late(plan, waiting, left, tasks, shown):
        end = time.monotonic() + 120
        while not tasks._counter.value and time.monotonic() < end:
            time.sleep(0.01)
        give = tasks.of

        def counted(number):
            for batch in give(number):
                took.append(batch)
                yield batch

        tasks.of = counted
        return part(plan, waiting, left, tasks, shown)

    monkeypatch.setattr(feature_passes, "_take_part", late)
    return took


def costs(outputs: Path) -> dict[str, dict[str, float]]:
    """Of every table: what was counted, without seconds and the empty caption's embedding, which
    every process needs once."""
    manifests = outputs.glob("features/*/*/*/manifest.json")
    found = {str(path.relative_to(outputs)): read_json(path)["cost"] for path in manifests}
    left_out = ("seconds", "text_embeddings")
    return {
        table: {name: value for name, value in cost.items() if name not in left_out}
        for table, cost in found.items()
    }


@pytest.mark.usefixtures("two_threads")
def test_two_processes_share_three_models_with_the_bits_of_one(
    small, trained, alone, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(parallel, "MIN_EVALUATIONS", 0)
    took = wait_for_the_worker(monkeypatch)
    plan = make_plan(small(*WORDS, outputs=trained(tmp_path)))
    extract_features(plan)
    assert 0 < len(took) < BATCHES  # both had a part
    assert torch.get_num_threads() == 2
    assert not plan.missing()
    assert len(computed(tmp_path)) == len(computed(alone)) > 9
    assert computed(tmp_path) == computed(alone)
    assert costs(tmp_path) == costs(alone)
    assert sorted({cost["rows"] for cost in costs(tmp_path).values()}) == [24, 36]
    assert not list(tmp_path.rglob("shards"))
    shown = capsys.readouterr().err
    for kind, rows in ROWS.items():
        if f"extract {kind}" in shown:  # by the processes together, in one bar
            assert f"{rows}/{rows}" in shown.split(f"extract {kind}")[-1].splitlines()[0]


@pytest.mark.long
@pytest.mark.usefixtures("two_threads")
def test_what_a_killed_worker_had_taken_is_left_to_the_next_run(
    small, trained, alone, tmp_path, monkeypatch
):
    monkeypatch.setattr(parallel, "MIN_EVALUATIONS", 0)
    plan = make_plan(small(*WORDS, outputs=trained(tmp_path)))
    part = feature_passes._take_part
    with monkeypatch.context() as patch:
        started = []
        start = parallel.Worker

        def noted(kinds, process):
            started.append(process)
            return start(kinds, process)

        def kills(plan, waiting, left, tasks, shown):
            while not tasks._counter.value:
                time.sleep(0.01)
            os.kill(started[0].pid, signal.SIGKILL)
            return part(plan, waiting, left, tasks, shown)

        patch.setattr(parallel, "Worker", noted)
        patch.setattr(feature_passes, "_take_part", kills)
        with pytest.raises(MiaError, match=r"target and shadow and base ended with signal 9"):
            extract_features(plan)
    assert len(plan.missing()) == len(ROWS)  # nothing was merged
    extract_features(plan)
    assert computed(tmp_path) == computed(alone)
    assert costs(tmp_path) == costs(alone)


SHARED = """
import sys
from mia_bench import compose
from mia_bench.execution import parallel
from mia_bench.execution.feature_passes import extract_features
from mia_bench.planning.make_plan import make_plan

parallel.MIN_EVALUATIONS = 0
extract_features(make_plan(compose(*sys.argv[1:])))
"""


@pytest.mark.long
def test_runs_killed_at_any_moment_end_as_one_that_was_not(
    small_overrides, trained, alone, tmp_path
):
    """Before all shards are there and while they are merged; the worker ends with the run."""
    outputs = trained(tmp_path / "outputs")
    given = {word.partition("=")[0] for word in WORDS}
    words = [*(word for word in small_overrides if word.partition("=")[0] not in given), *WORDS]
    command = [sys.executable, "-c", SHARED, *words, f"paths.outputs={outputs}"]
    env = {**os.environ, "OMP_NUM_THREADS": "2"}

    def shards() -> int:
        return sum(1 for _ in outputs.glob("features/*/*/*.tmp/shards/*.parquet"))

    def tables() -> int:
        return sum(1 for _ in outputs.glob("features/*/*/*/features.parquet"))

    moments = [lambda: shards() > 4, lambda: shards() > 30, lambda: tables() > 1]
    for moment in moments:
        run = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 300
        while not moment() and run.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        assert run.poll() is None, "over before the kill"
        run.kill()
        run.wait()
    subprocess.run(command, env=env, check=True, capture_output=True)
    assert computed(outputs) == computed(alone)
    assert costs(outputs) == costs(alone)
    assert_same(results(alone), results(outputs))


def test_tables_finished_meanwhile_are_not_made_again(small, trained, alone, tmp_path, monkeypatch):
    """Another job had them extracted between this one's plan and its locks."""
    monkeypatch.setattr(parallel, "MIN_EVALUATIONS", 0)
    plan = make_plan(small(*WORDS, outputs=trained(tmp_path)))
    passes = plan.missing()
    assert [len(features) for features in passes.values()] == [2, 2, 2]
    shutil.copytree(alone / "features", tmp_path / "features")
    before = {path: path.stat().st_ino for path in tmp_path.rglob("manifest.json")}
    monkeypatch.setattr(parallel, "_worker", None)  # none is started
    monkeypatch.setattr(feature_passes, "scoring_model", None)  # no model is loaded
    with threads(2):
        feature_passes._extract_together(plan, passes, parallel.Division(2, 1))
    assert {path: path.stat().st_ino for path in tmp_path.rglob("manifest.json")} == before
