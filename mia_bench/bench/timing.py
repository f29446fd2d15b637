"""Seconds of work, ratios of two pieces of work, and work in a process of its own.

The two pieces of a ratio take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Work = Callable[[], object]
CLOCKS = ("wall", "process")
_clock_in_use = ["wall"]


def use_clock(name: str) -> None:
    """`wall`, or `process`: seconds of processor time of this process and those it started.

    The latter is for machines that other work shares. It compares work on the same number of
    threads, and leaves out waiting and GPUs.
    """
    _clock_in_use[0] = name


def clock_in_use() -> str:
    return _clock_in_use[0]


@dataclass(frozen=True)
class Ratio:
    """`value`: median over rounds of time(a) / time(b); `lo`, `hi`: the middle half of rounds."""

    value: float
    lo: float
    hi: float
    seconds: tuple[float, float]
    """Median of a and of b, for people: no figure is made of them."""

    def times(self, factor: float) -> Ratio:
        """The same measurement per unit, where a and b did different amounts of work."""
        return Ratio(self.value * factor, self.lo * factor, self.hi * factor, self.seconds)


def ratio(
    a: Work,
    b: Work,
    rounds: int = 9,
    warmup_pairs: int = 1,
    seconds_of: Callable[[Work], float] | None = None,
) -> Ratio:
    """time(a) / time(b), in `rounds` pairs run in turn after `warmup_pairs` unmeasured ones.

    The order within a pair alternates, so that whatever slows the second of two slows each of them
    equally often.

    Args:
        seconds_of: runs the work and says which of its seconds count; None: all of them.
    """
    seconds_of = elapsed if seconds_of is None else seconds_of
    for _ in range(warmup_pairs):
        a()
        b()
    pairs = []
    for i in range(rounds):
        if i % 2:
            second = seconds_of(b)
            pairs.append((seconds_of(a), second))
        else:
            first = seconds_of(a)
            pairs.append((first, seconds_of(b)))
    seconds = np.array(pairs)
    lo, value, hi = np.percentile(seconds[:, 0] / seconds[:, 1], [25, 50, 75])
    first, second = np.median(seconds, axis=0)
    return Ratio(float(value), float(lo), float(hi), (float(first), float(second)))


def elapsed(work: Work) -> float:
    """Seconds of one call, by the clock in use."""
    began = now()
    work()
    return now() - began


def now() -> float:
    """What the clock in use says."""
    return time.perf_counter() if clock_in_use() == "wall" else processor_seconds()


def processor_seconds() -> float:
    """Seconds of processor time so far, of finished child processes too."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def child_command(measurement: str, *arguments: str) -> list[str]:
    """Command of a process that makes one `measurement` of bench/child.py."""
    return [sys.executable, "-m", "mia_bench.bench.child", measurement, *arguments]


def run_child(measurement: str, *arguments: str, **environment: str) -> Any:
    """What that process measured: the JSON on the last line that it prints."""
    env: Mapping[str, str] = os.environ | environment
    command = child_command(measurement, *arguments)
    finished = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


def startup_seconds(*arguments: str, rounds: int) -> float:
    """Seconds until `python -m mia_bench ARGUMENTS` ends, the smallest of `rounds`."""
    command = [sys.executable, "-m", "mia_bench", *arguments]

    def run() -> None:
        subprocess.run(command, capture_output=True, check=True)

    return min(elapsed(run) for _ in range(rounds))
