"""Two processes on one model (DDP on gloo): one dies, the other says so and ends, both go on."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from jobs import RUN, Job, assert_same, complete, refused, results, shards, start, steps_shown
from processes import gone

from mia_bench.storage.feature_table import read_table

pytestmark = pytest.mark.slow
DDP = tuple("trainer=ddp" if word == "trainer=cpu" else word for word in RUN)
DDP += ("trainer.accelerator=cpu",)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
SOON = 90.0  # seconds in which everything must be over; a hang would last a day


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """The outputs of two processes that nobody interrupted."""
    outputs = tmp_path_factory.mktemp("together") / "outputs"
    complete(outputs, *DDP)
    return outputs


def ranks(job: Job) -> list[int]:
    """Rank 0, and the processes it started with its own command line."""
    children = Path(f"/proc/{job.process.pid}/task/{job.process.pid}/children").read_text()
    said = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.split()}
    return [job.process.pid, *(pid for pid, words in said.items() if b"mia_bench" in words)]


def rows(history: str) -> list[list[str]]:
    return list(csv.reader(history.splitlines()))


def test_every_id_once_and_the_scores_of_one_process(together, whole):
    """Half batches sum gradients in another order than whole ones."""
    one, two = (
        {path.parent.name: read_table(path) for path in outputs.glob("features/*/*/*/*.parquet")}
        for outputs in (whole, together)
    )
    assert one.keys() == two.keys()
    for name, table in one.items():
        assert two[name].sample_id == table.sample_id
        assert set(Counter(two[name].sample_id).values()) == {1}
        for feature, values in table.features.items():
            np.testing.assert_allclose(two[name].features[feature], values, rtol=5e-3)


@pytest.mark.parametrize(
    ("victim", "stage"),
    [(0, "fine-tuning"), (1, "fine-tuning"), (0, "scoring"), (1, "scoring")],
)
def test_one_process_is_killed(together, tmp_path, victim, stage):
    outputs = tmp_path / "outputs"
    job = start(outputs, *DDP)
    if stage == "fine-tuning":
        assert job.until(lambda: steps_shown(job) > 3)
    else:
        assert job.until(lambda: shards(outputs) > 1)
    pids = ranks(job)
    assert len(pids) == 2
    os.kill(pids[victim], signal.SIGKILL)
    end = time.monotonic() + SOON
    while not all(gone(pid) for pid in pids) and time.monotonic() < end:
        job.process.poll()
        time.sleep(0.1)
    left = [pid for pid in pids if not gone(pid)]
    took = time.monotonic() - end + SOON
    job.kill()
    print(f"rank {victim} killed in {stage}: over after {took:.1f} s\n{job.said[-1500:]}")
    assert not left, f"still there after {SOON} s: {left}\n{job.said[-3000:]}"
    assert job.process.returncode not in (0, None)
    assert "Traceback" not in job.said
    assert not list(outputs.glob("runs/*/*/*/metrics.json"))
    complete(outputs, *DDP)
    expected, found = results(together), results(outputs)
    for path in together.glob("targets/*/train.csv"):
        # the mean training loss of an interrupted interval holds rank 0's losses before the kill
        name = path.relative_to(together).as_posix()
        assert [r[3:] for r in rows(found.pop(name))] == [r[3:] for r in rows(expected.pop(name))]
    assert_same(expected, found)


@pytest.mark.parametrize("victim", [0, 1])
def test_torchrun_ends_a_pass_whose_rank_died_and_the_same_command_resumes_it(
    together, tmp_path, victim
):
    """torchrun starts both ranks; models and splits are there, so that only the pass is left."""
    outputs = tmp_path / "outputs"
    for part in ("splits", "cache", "targets"):
        shutil.copytree(together / part, outputs / part)
    job = start(outputs, *DDP, launcher=TORCHRUN)
    assert job.until(lambda: shards(outputs) > 1)
    pids = ranks(job)[1:]  # the first is torchrun itself
    assert len(pids) == 2
    os.kill(pids[victim], signal.SIGKILL)
    assert job.finish(SOON) != 0
    assert all(gone(pid) for pid in pids)
    assert not list(outputs.glob("runs/*/*/*/metrics.json"))
    assert shards(outputs)  # what was stored is not asked again
    complete(outputs, *DDP, launcher=TORCHRUN)
    assert_same(results(together), results(outputs))


@pytest.mark.parametrize("stage", ["fine-tuning", "scoring"])
def test_another_run_is_at_work(together, tmp_path, stage):
    """Two processes cannot wait for it: the second would not know. They say so and end."""
    outputs, parts = tmp_path / "outputs", ["splits", "cache"]
    if stage == "fine-tuning":
        tables, ending = sorted(together.glob("targets/*/"))[:1], ".lock"
    else:
        tables, ending = sorted(together.glob("features/*/*/*/")), ".asking.lock"
        parts.append("targets")
    for part in parts:
        shutil.copytree(together / part, outputs / part)
    with ExitStack() as held:
        for table in tables:
            path = outputs / table.relative_to(together).with_name(table.name + ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(path))
        assert "another run is at work on" in refused(outputs, *DDP)
    complete(outputs, *DDP)
    assert_same(results(together), results(outputs))
