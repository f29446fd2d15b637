"""Other processes, alive and dead, on the same target; and clocks that jump."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jobs import RUN, assert_same, complete, results, start

HOLD = """
import sys
from filelock import FileLock

locks = [FileLock(path) for path in sys.argv[1:]]
for lock in locks:
    lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.long
def test_locks_of_a_dead_process_hold_nobody_up(copied, again, whole, capsys):
    """The system frees a lock with its process; the files that stay say nothing."""
    shutil.rmtree(copied / "runs")
    shutil.rmtree(copied / "features")
    runs = [*whole.glob("runs/*/*/*"), *whole.glob("features/*/*/*")]
    paths = []
    for folder in (copied / run.relative_to(whole) for run in runs if run.is_dir()):
        folder.parent.mkdir(parents=True, exist_ok=True)
        paths += [folder.with_name(f"{folder.name}{end}") for end in (".lock", ".asking.lock")]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert all(path.exists() for path in paths)
    again(copied)
    assert_same(results(whole), results(copied))
    assert "waiting" not in capsys.readouterr().err


@pytest.mark.first_look
@pytest.mark.parametrize("moved", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_files_from_another_time_are_reused_as_they_are(finished_copied, finished_again, moved):
    """What a clock that was wrong leaves behind: every file ten years off."""
    for path in finished_copied.rglob("*"):
        then = path.stat().st_mtime + moved
        os.utime(path, (then, then))
    before = manifests(finished_copied)
    finished_again(finished_copied)
    assert manifests(finished_copied) == before


def manifests(outputs: Path) -> dict[Path, tuple[int, float]]:
    """Inode and time of every manifest."""
    return {p: (p.stat().st_ino, p.stat().st_mtime) for p in outputs.rglob("manifest.json")}


JUMPING = """
import itertools
import time

real, seconds = time.time, itertools.cycle((0, 4e8, -4e8, 90000, -7200))
time.time = lambda: real() + next(seconds)
"""


@pytest.mark.slow
def test_a_clock_that_jumps_at_every_look(tmp_path, whole):
    """By years and hours, forwards and backwards, in every part of the program."""
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    complete(tmp_path / "outputs", *RUN, env={"PYTHONPATH": str(tmp_path)})
    assert_same(results(whole), results(tmp_path / "outputs"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 6])
def test_processes_that_start_together_share_one_target(tmp_path, whole, number):
    """Each trains or asks what no other does, waits for the rest, and ends with everything."""
    outputs = tmp_path / "outputs"
    jobs = [start(outputs, *RUN) for _ in range(number)]
    for job in jobs:
        assert job.finish() == 0, job.said[-3000:]
        assert "Traceback" not in job.said
    assert_same(results(whole), results(outputs))
    trained = "".join(job.said for job in jobs)
    for kind in ("target", "shadow"):
        assert trained.count(f"fine-tune {kind}: 100%") >= 1
        assert sum(f"fine-tune {kind}:" in job.said for job in jobs) == 1
    assert any("waiting for another process" in job.said for job in jobs)


@pytest.mark.slow
def test_one_of_two_processes_dies_and_the_other_goes_on(tmp_path, whole):
    """The one that waits takes over where the other was killed, which stood still meanwhile."""
    outputs: Path = tmp_path / "outputs"
    first = start(outputs, *RUN)
    assert first.until(lambda: next(outputs.glob("targets/*.tmp/last.ckpt"), None) is not None)
    os.killpg(first.process.pid, signal.SIGSTOP)
    second = start(outputs, *RUN)
    assert second.until(lambda: "waiting for another process" in second.said)
    first.kill()
    assert second.finish() == 0, second.said[-3000:]
    assert_same(results(whole), results(outputs))
