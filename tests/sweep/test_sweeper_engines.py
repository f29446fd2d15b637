"""Sweeps on a real Slurm and on Ray, on this machine: `make test-slurm`, `make test-ray`."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from jobs import QUIET, STARTED, assert_same, complete, results, start
from one_node_slurm import absent_slurm, client, one_node

pytestmark = pytest.mark.slow
AXES = ("attack=loss,sima,pia,mc", "seed=0,1", "eval.base_rows=[]", "eval.blind_rows=false")
CELLS, MODELS = 8, 4
ON_SLURM = ("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null")
ON_SLURM += ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=null")
ON_SLURM += ("hydra.launcher.array_parallelism=2",)
RANKS = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "attack=[loss,pia]")
needs_slurm = pytest.mark.skipif(bool(absent_slurm()), reason=absent_slurm() or "a Slurm is here")


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """What a test that failed left running."""
    yield
    while STARTED:
        STARTED.pop().kill()


@pytest.fixture
def slurm(tmp_path) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's clients and sweeps find a Slurm of one node."""
    with one_node(tmp_path / "slurm") as env:
        yield env


@pytest.fixture(scope="module")
def cells(small_overrides) -> tuple[str, ...]:
    """Words of a sweep of eight cells over two seeds: four models for all."""
    return ("-m", *small_overrides, *AXES)


@pytest.fixture(scope="module")
def undisturbed(cells, tmp_path_factory) -> Path:
    """The outputs of the same sweep in one process, one cell after the other."""
    outputs = tmp_path_factory.mktemp("undisturbed") / "outputs"
    complete(outputs, *cells)
    return outputs


def trained_to_the_end(logs: Path) -> int:
    """How many fine-tunes ended in logs of workers under `logs`; a bar may say its end twice."""
    ended = 0
    for path in logs.rglob("*_log.err"):
        steps = re.findall(r"fine-tune (\w+):.*?\| (\d+)/4 ", path.read_text(errors="replace"))
        before = ("", "")
        for step in steps:
            ended += step[1] == "4" and step != before
            before = step
    return ended


def assert_same_table(expected: Path, outputs: Path) -> None:
    """The same runs with the same scores, to rounding: workers of an engine multiply in an order
    of their own, which moves the last bits."""
    one, other = results(expected), results(outputs)
    assert one.keys() == other.keys()
    tables = [name for name in one if name.endswith("scores.parquet")]
    assert len(tables) == CELLS
    for name in tables:
        assert one[name]["sample_id"].tolist() == other[name]["sample_id"].tolist()
        np.testing.assert_allclose(one[name]["score"], other[name]["score"], rtol=1e-4)


@needs_slurm
def test_slurm_runs_every_cell_though_workers_are_lost(slurm, cells, undisturbed, tmp_path):
    """One worker is taken away and queued again, another is cancelled; both while they work."""
    outputs = tmp_path / "outputs"
    job = start(outputs, *cells, *ON_SLURM, env=slurm)
    assert job.until(lambda: len(list(outputs.glob("targets/*.tmp"))) > 1)
    array = client(slurm, "squeue", "-h", "-t", "R", "-o", "%F").split()[0]
    client(slurm, "scontrol", "requeue", f"{array}_0")
    client(slurm, "scancel", f"{array}_1")
    status = job.finish()
    print(job.said)
    assert status == 1
    assert len(list(outputs.glob("runs/*/*/*/metrics.json"))) == CELLS - 1
    assert "the launcher stopped early (UncompletedJobError: Job " in job.said
    assert job.said.count("FAILED  attack=loss seed=1: ended without a message") == 1
    assert "sacct" not in job.said
    assert "accounting" not in job.said
    assert "Traceback" not in job.said
    assert "Restarts=1" in client(slurm, "scontrol", "show", "job", f"{array}_0")
    logs = outputs / "hydra"
    numbers = {path.name for path in logs.glob(f"*/*/.submitit/{array}_*")}
    assert numbers == {f"{array}_{number}" for number in range(CELLS)}
    said = complete(outputs, *cells, *ON_SLURM, env=slurm)
    assert f"sweep   {CELLS} jobs, 1 to run" in said
    # a worker that is lost between its last step and the end of the build leaves it to another
    assert MODELS <= trained_to_the_end(logs) <= MODELS + 2
    assert_same_table(undisturbed, outputs)


@needs_slurm
def test_slurm_starts_two_ranks_of_one_pass_by_srun(slurm, small_overrides, tmp_path):
    """Each rank is a task of Slurm's; the figures are those of ranks that Lightning started."""
    words = [word for word in small_overrides if not word.startswith("trainer=")]
    together, by_srun = tmp_path / "together", tmp_path / "by_srun"
    complete(together, *words, *RANKS)
    command = ["srun", "--kill-on-bad-exit=1", "--nodes=1", "--ntasks-per-node=2"]
    command += [sys.executable, "-m", "mia_bench"]
    done = subprocess.run(
        [*command, *words, *RANKS, f"paths.outputs={by_srun}"],
        env={**os.environ, **QUIET, **slurm},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" non-members.") == 1  # rank 0 alone prints the table
    assert_same(results(together), results(by_srun))


def absent_ray() -> str:
    """Why there is no Ray here, or nothing."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed: pip install 'mia_bench[ray]'"
    return ""


def ray_workers(mark: str) -> list[int]:
    """Process ids of the Ray workers that run a cell, with `mark` in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            title = (path / "cmdline").read_bytes()
            if (
                title.startswith(b"ray::carry_out")
                and mark.encode() in (path / "environ").read_bytes()
            ):
                found.append(int(path.name))
    return found


@pytest.mark.skipif(bool(absent_ray()), reason=absent_ray() or "Ray is here")
def test_ray_runs_every_cell_though_a_worker_is_killed(cells, undisturbed, tmp_path):
    """Ray starts the cell of a worker that died again."""
    outputs = tmp_path / "outputs"
    words = ("hydra/launcher=ray_cluster", "hydra.launcher.ray.remote.num_cpus=1")
    words += ("hydra.launcher.ray.init.address=local", "+hydra.launcher.ray.init.num_cpus=2")
    job = start(outputs, *cells, *words, env={"SWEEP_OF_THIS_TEST": str(outputs)})
    assert job.until(lambda: len(list(outputs.glob("targets/*.tmp"))) > 1)
    workers = ray_workers(f"SWEEP_OF_THIS_TEST={outputs}")
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    status = job.finish()
    print(job.said)
    assert status == 0
    assert len(list(outputs.glob("runs/*/*/*/metrics.json"))) == CELLS
    assert_same_table(undisturbed, outputs)
