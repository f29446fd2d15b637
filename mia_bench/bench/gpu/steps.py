"""The benchmark as steps of a minute or two: each is done once, and the next call goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mia_bench.bench.gpu import networks, results
from mia_bench.bench.gpu.results import GpuFigures, StepResult
from mia_bench.bench.gpu.speed import SpeedSetting
from mia_bench.utils import memory
from mia_bench.utils.errors import MiaError
from mia_bench.utils.oom_batching import out_of_memory
from mia_bench.utils.terminal import echo

Measure = Callable[[SpeedSetting], dict[str, Any]]
OVERHEAD_DTYPE = "bfloat16"  # the fastest network, beside which all other work weighs most
ROWS = {"real": 8, "small": 1}  # images of a pass
FLOAT32_ROWS = {"real": 2, "small": 1}


@dataclass(frozen=True)
class Step:
    """`name` is `<model>.<measurement>[.<dtype>]`, the key in docs/gpu.json."""

    name: str
    measure: Measure


def all_steps(dtypes: Sequence[str]) -> list[Step]:
    """What is measured where `dtypes` can be computed in, in this order."""
    steps = []
    for model in networks.MODELS:
        steps.append(Step(f"{model}.speed", partial(_speed, model)))
        # the dtypes people score in first: a call may end before the last
        for dtype in sorted(dtypes, key=lambda name: name != OVERHEAD_DTYPE):
            steps.append(Step(f"{model}.all.{dtype}", partial(_all_attacks, model, dtype)))
        steps.append(Step(f"{model}.overhead", partial(_overheads, model)))
        steps.append(Step(f"{model}.finetune", partial(_finetuning, model)))
    return steps


def run_steps(
    steps: Sequence[Step], setting: SpeedSetting, out: Path, limit: float | None = None
) -> list[str]:
    """Measure what `out` does not hold yet; after each step it is written.

    A step that fails keeps its error in place of figures, and the others go on.

    Args:
        limit: seconds after which no other step begins, counting the longest so far as the next.

    Returns: names of the steps that are left.
    """
    figures = results.open_figures(out, setting.size)
    began, longest = time.monotonic(), 0.0
    waiting = [s for s in steps if not figures.steps.get(s.name, StepResult()).ended]
    for i, step in enumerate(waiting):
        taken = time.monotonic() - began
        if limit is not None and taken + longest > limit:
            return [s.name for s in waiting[i:]]
        _run_step(step, setting, figures, out)
        longest = max(longest, time.monotonic() - began - taken)
    return []


def _run_step(step: Step, setting: SpeedSetting, figures: GpuFigures, out: Path) -> None:
    """Written before it begins too: a step that ends the process is not tried for ever."""
    result = figures.steps.setdefault(step.name, StepResult())
    result.attempts += 1
    results.save(figures, out)
    began = time.monotonic()
    try:
        result.figures = step.measure(setting)
    except Exception as error:
        result.error = _reason(error)
    memory.free()
    result.seconds = time.monotonic() - began
    results.save(figures, out)
    state = "done" if result.error is None else f"failed: {result.error}"
    echo(f"{step.name:<24} {result.seconds:6.1f} s  {state}", error=True)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if isinstance(error, RuntimeError) and out_of_memory(error):
        return "does not fit into the memory of this device"
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:300]


def chosen(steps: Sequence[Step], words: Sequence[str]) -> list[Step]:
    """The steps that `words` name, whole or by their beginning (sd15, sdxl.all); all without words.

    Raises:
        MiaError: a word that names none.
    """
    from mia_bench.utils.text import nearest

    for word in words:
        if not any(_names(word, step) for step in steps):
            names = [step.name for step in steps]
            raise MiaError(f"there is no step '{word}'. {nearest(word, names)}")
    return [s for s in steps if not words or any(_names(word, s) for word in words)]


def _names(word: str, step: Step) -> bool:
    return f"{step.name}.".startswith(f"{word}.")


# --- what a step measures; a model is made for each, so that none keeps another's memory


def _speed(model: str, setting: SpeedSetting) -> dict[str, Any]:
    from mia_bench.bench.gpu.speed import speed

    return speed(_workload(model, 1, setting), setting)


def _all_attacks(model: str, dtype: str, setting: SpeedSetting) -> dict[str, Any]:
    from mia_bench.bench.gpu.scoring import all_attacks

    rows = (FLOAT32_ROWS if dtype == "float32" else ROWS)[setting.size]
    return all_attacks(_workload(model, rows, setting), setting, dtype)


def _overheads(model: str, setting: SpeedSetting) -> dict[str, Any]:
    from mia_bench.bench.gpu.scoring import overheads

    return overheads(_workload(model, ROWS[setting.size], setting), setting, OVERHEAD_DTYPE)


def _finetuning(model: str, setting: SpeedSetting) -> dict[str, Any]:
    from mia_bench.bench.gpu.finetuning import finetuning

    return finetuning(networks.SPECS[model][setting.size], setting)


def _workload(model: str, rows: int, setting: SpeedSetting) -> Any:
    return networks.workload(networks.SPECS[model][setting.size], rows, setting.device)
