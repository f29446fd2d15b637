"""States of Slurm's jobs without accounting, from a `squeue` and a `sacct` of this test's own."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

slurm = pytest.importorskip("submitit.slurm.slurm", reason="submitit, an extra, is not installed")

from mia_bench.sweep import slurm_queue  # noqa: E402

LISTED = """\
12|0|COMPLETED|node1
12|1|RUNNING|node2
12|2|PENDING|
13|N/A|CANCELLED|node1
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """cluster(listing, accounting): what Slurm's commands of this machine answer from now on."""
    monkeypatch.setattr(slurm.SlurmJob, "watcher", slurm.SlurmJob.watcher)
    logger = logging.getLogger("submitit")
    filters = list(logger.filters)
    monkeypatch.setattr(logger, "disabled", False)  # Hydra's logging disables loggers that it finds
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    yield lambda listing, accounting=False: _answers(tmp_path, listing, accounting)
    logger.filters[:] = filters


def _answers(folder: Path, listing: str | None, accounting: bool) -> None:
    (folder / "listing").write_text(listing or "")
    status = 1 if listing is None else 0
    programs = {
        "squeue": f"cat {folder / 'listing'}; exit {status}",
        "sacct": f"exit {0 if accounting else 1}",
    }
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


def test_the_queue_says_who_has_ended(cluster):
    cluster(LISTED)
    slurm_queue.watch_queue()
    watcher = slurm.SlurmJob.watcher
    jobs = ("12_0", "12_1", "12_2", "13")
    states = [watcher.get_state(job, mode="force") for job in jobs]
    assert states == ["COMPLETED", "RUNNING", "PENDING", "CANCELLED"]
    assert [watcher.is_done(job, mode="cache") for job in jobs] == [True, False, False, True]
    assert watcher.get_info("12_1", mode="cache")["NodeList"] == "node2"


def test_a_job_that_slurm_forgot_has_ended_and_a_new_one_has_not(cluster):
    cluster(LISTED)
    slurm_queue.watch_queue()
    watcher = slurm.SlurmJob.watcher
    assert not watcher.is_done("12_1", mode="force")
    cluster("")
    watcher.update()
    assert watcher.is_done("12_1", mode="cache")
    assert not watcher.is_done("14", mode="force")


def test_others_are_waited_for_without_the_array_itself(cluster, monkeypatch):
    cluster(LISTED)
    slurm_queue.watch_queue()
    for job in ("12", "12_0", "12_1", "12_2"):
        slurm.SlurmJob.watcher.register_job(job)
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        cluster("12|1|COMPLETED|node2\n12|2|FAILED|node2\n")

    monkeypatch.setattr(slurm_queue.time, "sleep", sleep)
    slurm_queue.wait_for_the_others()
    assert looks == [slurm_queue.LOOK_SECONDS]


def test_a_cluster_with_accounting_is_left_to_submitit(cluster):
    cluster(LISTED, accounting=True)
    before = slurm.SlurmJob.watcher
    slurm_queue.watch_queue()
    assert slurm.SlurmJob.watcher is before


def test_a_queue_that_does_not_answer_is_said_once(cluster, capsys, caplog):
    cluster(None)
    slurm_queue.watch_queue()
    slurm_queue.watch_queue()
    watcher = slurm.SlurmJob.watcher
    with caplog.at_level(logging.WARNING, logger="submitit"):
        for _ in range(3):
            assert watcher.get_state("12_1", mode="force") == "UNKNOWN"
    assert capsys.readouterr().err.count("Slurm did not say how its jobs are") == 1
    assert "sacct" not in caplog.text
