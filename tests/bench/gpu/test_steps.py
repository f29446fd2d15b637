"""Steps: each once, in order; what fails or ends the process does not stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mia_bench.bench.gpu import results, steps
from mia_bench.bench.gpu.speed import SpeedSetting
from mia_bench.bench.gpu.steps import Step
from mia_bench.utils.errors import MiaError

SETTING = SpeedSetting(torch.device("cpu"), "small", 1, Path("unused"))


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "docs" / "gpu.json"


def recorded(calls: list[str], *names: str) -> list[Step]:
    def measure(name: str) -> dict[str, float]:
        calls.append(name)
        return {"value": 1.23456}

    return [Step(name, lambda _, name=name: measure(name)) for name in names]


def test_what_is_done_is_not_measured_again(out):
    calls: list[str] = []
    assert steps.run_steps(recorded(calls, "a", "b"), SETTING, out) == []
    assert steps.run_steps(recorded(calls, "a", "b", "c"), SETTING, out) == []
    assert calls == ["a", "b", "c"]
    stored = results.load(out)
    assert stored is not None
    assert stored.figure("b", "value") == 1.235


def test_no_step_begins_that_might_end_after_the_limit(out, monkeypatch):
    moments = iter(range(0, 1000, 30))  # each look at the clock is 30 seconds later
    monkeypatch.setattr(steps.time, "monotonic", lambda: float(next(moments)))
    calls: list[str] = []
    left = steps.run_steps(recorded(calls, "a", "b", "c"), SETTING, out, limit=200)
    assert calls == ["a"]
    assert left == ["b", "c"]


def test_a_failed_step_keeps_its_reason_and_the_others_go_on(out):
    def too_large(_: SpeedSetting) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def broken(_: SpeedSetting) -> dict[str, float]:
        raise ValueError("no such kernel\nmore")

    calls: list[str] = []
    work = [Step("x", too_large), Step("y", broken), *recorded(calls, "z")]
    assert steps.run_steps(work, SETTING, out) == []
    stored = results.load(out)
    assert stored is not None
    assert stored.steps["x"].error == "does not fit into the memory of this device"
    assert stored.steps["y"].error == "ValueError: no such kernel"
    assert calls == ["z"]


def test_a_step_that_ends_the_process_is_tried_twice(out):
    def killed(_: SpeedSetting) -> dict[str, float]:
        raise KeyboardInterrupt

    work = [Step("x", killed)]
    for _ in range(results.MOST_ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):
            steps.run_steps(work, SETTING, out)
    assert steps.run_steps(work, SETTING, out) == []
    stored = results.load(out)
    assert stored is not None
    assert stored.steps["x"].attempts == results.MOST_ATTEMPTS
    assert not stored.steps["x"].figures


def test_steps_are_named_by_their_beginning():
    every = steps.all_steps(("float32", "bfloat16"))
    names = [step.name for step in steps.chosen(every, ["sdxl.all", "sd15.speed"])]
    assert names == ["sd15.speed", "sdxl.all.bfloat16", "sdxl.all.float32"]
    assert steps.chosen(every, []) == every
    with pytest.raises(MiaError, match=r"no step 'sdx'.*sd"):
        steps.chosen(every, ["sdx"])
