"""Real runs in process groups of their own: started, watched from outside, killed, compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from mia_bench.storage.feature_table import read_table
from mia_bench.storage.files import read_json

STEPS = 6
RUN = (
    *("trainer=cpu", "logger.wandb=disabled", "attack=[clid,loss]", "seed=0"),
    *(f"finetune.steps={STEPS}", "finetune.batch_size=8", "finetune.accumulate=4"),
    *("finetune.ema_decay=0.9", "finetune.save_at=[3]", "finetune.checkpoint_every=2"),
    *("finetune.val_every=3", "finetune.val_rows=4", "eval.batch_size=8", "eval.resamples=100"),
    *("eval.blind_rows=false", "eval.base_rows=[loss]", "calibration.folds=2"),
    *("data.sizes.target_member=12", "data.sizes.target_nonmember=12"),
    *("data.sizes.shadow_member=12", "data.sizes.shadow_nonmember=12"),
)
"""A run of every kind of work, in seconds: 12 images a role, micro-batches of 2, 5 tables."""

QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
LOOK = 0.003  # seconds between two looks at a file that lives for tens of milliseconds
STEP = re.compile(r"fine-tune (\w+):[^\r\n]*?(\d+)/(\d+) \[")


STARTED: list[Job] = []


@dataclass
class Job:
    """A running `python -m mia_bench`; what it says is in `log`."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """The whole group, so that nothing of it goes on."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait()

    def until(self, condition: Callable[[], bool], seconds: float = 600.0) -> bool:
        """True once `condition` holds, False when the job ended before."""
        end = time.monotonic() + seconds
        while not condition():
            if not self.alive:
                return False
            if time.monotonic() > end:
                self.kill()
                raise AssertionError(f"nothing happened in {seconds} s:\n{self.said[-3000:]}")
            time.sleep(LOOK)
        return True

    def finish(self, seconds: float = 900.0) -> int:
        """Its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.said[-3000:]}") from None


def start(
    outputs: Path,
    *overrides: str,
    env: Mapping[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> Job:
    """`launcher`: words between Python and `-m mia_bench`, of a module that starts ranks."""
    log = outputs.with_name(f"{outputs.name}-{time.monotonic_ns()}.log")
    words = [sys.executable, *launcher, "-m", "mia_bench", *overrides, f"paths.outputs={outputs}"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            words,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **QUIET, **(env or {})},
            start_new_session=True,
        )
    STARTED.append(Job(process, log))
    return STARTED[-1]


def complete(
    outputs: Path,
    *overrides: str,
    env: Mapping[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> str:
    """Run to the end; what it said."""
    job = start(outputs, *overrides, env=env, launcher=launcher)
    status = job.finish()
    assert status == 0, f"exit status {status}:\n{job.said[-5000:]}"
    assert "Traceback" not in job.said, job.said[-5000:]
    return job.said


def refused(outputs: Path, *overrides: str, env: Mapping[str, str] | None = None) -> str:
    """Run into an error; its message, which comes without a traceback."""
    job = start(outputs, *overrides, env=env)
    status = job.finish()
    assert status == 1, f"exit status {status}:\n{job.said[-5000:]}"
    assert "Traceback" not in job.said, job.said[-5000:]
    return job.said[job.said.index("\nerror: ") :]


def steps_shown(job: Job) -> int:
    """How many different optimiser steps the bars of a job have shown."""
    return len(set(STEP.findall(job.said)))


def shards(outputs: Path) -> int:
    return sum(1 for _ in outputs.glob("features/*/*/*.tmp/shards/*.parquet"))


def tables(outputs: Path) -> int:
    return sum(1 for _ in outputs.glob("features/*/*/*/features.parquet"))


def weights(outputs: Path) -> dict[str, dict[str, Any]]:
    files = sorted(outputs.glob("targets/*/steps/*/*.safetensors"))
    return {path.relative_to(outputs).as_posix(): load_file(path) for path in files}


def results(outputs: Path) -> dict[str, Any]:
    """Everything a run is for, exact to the bit, by file; measured seconds are left out."""
    found: dict[str, Any] = dict(weights(outputs))
    for path in sorted(outputs.glob("targets/*/train.csv")):
        found[path.relative_to(outputs).as_posix()] = path.read_text()
    for path in sorted(outputs.glob("features/*/*/*/features.parquet")):
        table = read_table(path)
        found[path.relative_to(outputs).as_posix()] = {"id": table.sample_id, **table.features}
    for path in sorted(outputs.glob("runs/*/*/*/scores.parquet")):
        frame = pd.read_parquet(path)
        columns = {name: np.asarray(frame[name]) for name in frame.columns}
        found[path.relative_to(outputs).as_posix()] = columns
    for path in sorted(outputs.glob("runs/*/*/*/metrics.json")):
        metrics = read_json(path)
        metrics.pop("seconds")
        found[path.relative_to(outputs).as_posix()] = metrics
    return found


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two results are not the same bits."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in sorted(one.keys() | other.keys()):
            if name in one and name in other:
                yield from differences(one[name], other[name], f"{where}/{name}")
            else:
                yield f"{where}/{name} is in one of them only"
    elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.dtype != other.dtype or one.shape != other.shape:
            yield f"{where}: {one.dtype}{one.shape} and {other.dtype}{other.shape}"
        elif one.dtype == object:
            yield from differences(one.tolist(), other.tolist(), where)
        elif one.tobytes() != other.tobytes():
            apart = np.abs(one.astype(float) - other.astype(float)).max()
            yield f"{where}: up to {apart:.3g} apart"
    elif one != other:
        yield f"{where}: {str(one)[:200]} != {str(other)[:200]}"


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    found = list(differences(one, other))
    assert not found, "\n".join(found[:20])
