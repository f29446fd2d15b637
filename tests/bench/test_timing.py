"""Ratios, clocks, and measurements in a process of their own."""

from __future__ import annotations

import subprocess
import time

import pytest

from mia_bench.bench import timing
from mia_bench.bench.timing import ratio


def test_a_ratio_is_of_medians_in_turn(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work(name, seconds):
        def run():
            order.append(name)
            now[0] += seconds * len(order)  # the machine gets slower and slower

        return run

    measured = ratio(work("a", 3.0), work("b", 2.0), rounds=40)
    assert order[:6] == ["a", "b", "a", "b", "b", "a"]
    assert measured.value == pytest.approx(1.5, rel=0.02)
    assert measured.lo <= measured.value <= measured.hi
    assert measured.times(4).value == pytest.approx(4 * measured.value)


@pytest.mark.parametrize("clock", timing.CLOCKS)
def test_a_sleep_takes_no_processor_time(clock):
    timing.use_clock(clock)
    try:
        seconds = timing.elapsed(lambda: time.sleep(0.2))
    finally:
        timing.use_clock("wall")
    assert (seconds > 0.15) == (clock == "wall")


def test_processor_time_of_child_processes_counts(run_python):
    timing.use_clock("process")
    try:
        seconds = timing.elapsed(lambda: run_python("-c", "sum(range(5_000_000))"))
    finally:
        timing.use_clock("wall")
    assert seconds > 0.02


def test_startup_of_a_command_that_fails_is_no_figure():
    with pytest.raises(subprocess.CalledProcessError):
        timing.startup_seconds("attack=no_such_attack", rounds=1)
