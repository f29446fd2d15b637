"""What became of the jobs of a sweep on Slurm, also on a cluster that keeps no accounting.

submitit asks `sacct`. Without accounting that fails at every look, each time with three warnings,
and a job that was cancelled is waited for without end: there `squeue` is asked instead.

Imports submitit, which is an extra: only for sweeps through Slurm.
"""

from __future__ import annotations

import logging
import subprocess
import time

from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

from mia_bench.utils.terminal import echo

LOOK_SECONDS = 10.0  # between two looks at jobs that go on after another one was lost
SLOWEST_LOOK_SECONDS = 60
GONE = "GONE"  # Slurm forgets jobs minutes after their end
COLUMNS = "%F|%K|%T|%N"  # number of the job or array, number within the array, state, nodes


class QueueWatcher(SlurmInfoWatcher):
    """States of jobs from `squeue`, in the form in which submitit expects those of `sacct`."""

    def _make_command(self) -> list[str] | None:
        if self._registered <= self._finished:
            return None
        return ["squeue", "--me", "--array", "--noheader", "--states=all", f"--format={COLUMNS}"]

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        """{"12_3": {"JobID": "12_3", "State": "RUNNING", "NodeList": "node1"}}.

        A job that was listed before and is no longer has ended.
        """
        text = string if isinstance(string, str) else string.decode()
        states = {job: {**facts, "State": GONE} for job, facts in self._info_dict.items()}
        for line in text.splitlines():
            array, number, state, nodes = line.strip().split("|", 3)
            job = f"{array}_{number}" if number.isdigit() else array
            states[job] = {"JobID": job, "State": state, "NodeList": nodes}
        return states


class OneWarning(logging.Filter):
    """submitit's warning that Slurm did not answer, said once and in one line."""

    def __init__(self) -> None:
        super().__init__()
        self.was_said = False

    def filter(self, record: logging.LogRecord) -> bool:
        if "Bypassing sacct error" not in record.getMessage():
            return True
        if not self.was_said:
            echo("note: Slurm did not say how its jobs are; it is asked again", error=True)
        self.was_said = True
        return False


def watch_queue() -> None:
    """Have submitit ask `squeue` where `sacct` has no answer; elsewhere as it is."""
    logger = logging.getLogger("submitit")
    if not any(isinstance(kept, OneWarning) for kept in logger.filters):
        logger.addFilter(OneWarning())
    if not has_accounting():
        SlurmJob.watcher = QueueWatcher(delay_s=SLOWEST_LOOK_SECONDS)


def has_accounting() -> bool:
    """Whether `sacct` answers here."""
    try:
        done = subprocess.run(["sacct", "--noheader", "--allocations"], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def wait_for_the_others() -> None:
    """Until every job of this sweep has ended: one that was lost ends the launcher alone."""
    watcher = SlurmJob.watcher
    # the number of an array stands beside those of its jobs and has no state of its own
    arrays = {job.partition("_")[0] for job in watcher._registered if "_" in job}
    while True:
        watcher.update()
        if all(watcher.is_done(job, mode="cache") for job in watcher._registered - arrays):
            return
        time.sleep(LOOK_SECONDS)
