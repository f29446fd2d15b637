"""kill -9 at any moment, restart: the weights and scores of the run that nobody interrupted.

Identical to the bit, on one machine with one thread. Runs are real processes in groups of their
own; their progress is seen from outside, in their bars and files, so that moments do not depend on
the machine's speed. A step is four micro-batches, so most kills fall between two of a step.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from jobs import RUN, Job, assert_same, complete, results, shards, start, steps_shown, tables

BATCHES = 3  # of each table
WITHIN = 0.5  # seconds, about a step or a batch: how far behind the moment seen a kill may fall


@dataclass(frozen=True)
class Moment:
    """Kill once `more` steps or shards were added and `sign` is there, after `wait` seconds."""

    more: int
    sign: str | None
    wait: float


def moments(seed: int, count: int, most: int, signs: tuple[str, ...]) -> Iterator[Moment]:
    """Seeded moments; every other one waits for one of `signs`, and then strikes at once."""
    generator = np.random.default_rng(seed)
    for i in range(count):
        more = int(generator.integers(most + 1))
        if i % 2:
            yield Moment(more, signs[i // 2 % len(signs)], 0.0)
        else:
            yield Moment(more, None, float(generator.uniform(0, WITHIN)))


def written(outputs: Path) -> int:
    """Shards so far, those of merged tables included."""
    return shards(outputs) + BATCHES * tables(outputs)


def trained(outputs: Path) -> int:
    return sum(1 for _ in outputs.glob("targets/*/manifest.json"))


def kill(
    outputs: Path, moment: Moment, added: Callable[[Job], int], over: Callable[[], bool]
) -> bool:
    """Start the run and kill it at `moment`; False where it was `over` before."""
    job = start(outputs, *RUN)

    def now() -> bool:
        if over():
            return True
        there = moment.sign is None or next(outputs.glob(moment.sign), None) is not None
        return there and added(job) >= moment.more

    job.until(now)
    time.sleep(moment.wait)
    landed = job.alive and not over()
    job.kill()
    return landed


TRAINING = ("targets/*.tmp/last.part", "targets/*.tmp/steps/*.part")


def kill_training(outputs: Path, moment: Moment) -> bool:
    return kill(
        outputs,
        moment,
        lambda job: steps_shown(job) - 1,
        lambda: trained(outputs) == 2,
    )


SCORING = ("features/*/*/*.tmp/features.parquet*", "runs/*/*/*.tmp")


def kill_scoring(outputs: Path, moment: Moment) -> bool:
    before = written(outputs)
    return kill(
        outputs,
        moment,
        lambda _: written(outputs) - before,
        lambda: sum(1 for _ in outputs.glob("runs/*/*/*/manifest.json")) == 2,
    )


@pytest.mark.long
def test_a_run_killed_now_and_then_ends_as_if_it_had_not_been(whole, again, tmp_path):
    outputs = tmp_path / "outputs"
    for part in ("splits", "cache"):  # kills of these are in test_disk.py and the twenty below
        shutil.copytree(whole / part, outputs / part)
    assert kill_training(outputs, Moment(1, None, 0.2))
    assert kill_training(outputs, Moment(0, TRAINING[0], 0.0))
    assert kill_scoring(outputs, Moment(3, None, 0.1))
    again(outputs)
    assert_same(results(whole), results(outputs))
    assert not list(outputs.rglob("*.tmp"))
    assert not list(outputs.glob("targets/**/last.*"))


@pytest.mark.slow
def test_twenty_kills_of_fine_tuning(whole, tmp_path):
    struck = moments(seed=8, count=60, most=3, signs=TRAINING)
    twenty("fine-tuning", whole, struck, kill_training, lambda i: tmp_path / str(i))


@pytest.mark.slow
def test_twenty_kills_of_scoring(whole, tmp_path):
    def fresh(i: int) -> Path:
        return _trained_only(whole, tmp_path / str(i))

    struck = moments(seed=9, count=60, most=4, signs=SCORING)
    twenty("scoring", whole, struck, kill_scoring, fresh)


def twenty(
    what: str,
    whole: Path,
    struck: Iterator[Moment],
    strike: Callable[[Path, Moment], bool],
    fresh: Callable[[int], Path],
) -> None:
    """Kills in `fresh` outputs until twenty landed; every run they hit ends as `whole` did."""
    expected, landed, rounds = results(whole), 0, 0
    outputs = fresh(0)
    for moment in struck:
        if landed == 20:
            break
        done = strike(outputs, moment)
        landed += done
        print(f"{landed:>3} kills of {what}: {moment}{'' if done else ' was too late'}")
        if not done:
            rounds += 1
            complete(outputs, *RUN)
            assert_same(expected, results(outputs))
            outputs = fresh(rounds)
    complete(outputs, *RUN)
    assert_same(expected, results(outputs))
    assert landed == 20
    print(f"{landed} kills of {what} in {rounds + 1} runs: identical")


def _trained_only(whole: Path, outputs: Path) -> Path:
    for part in ("targets", "splits", "cache"):
        shutil.copytree(whole / part, outputs / part)
    return outputs
