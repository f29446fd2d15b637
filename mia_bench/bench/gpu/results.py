"""docs/gpu.json: what was measured on one card, step by step, so that it can be taken up again."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import gmtime, strftime
from typing import Any

from mia_bench.bench.results import processor, to_json
from mia_bench.storage.files import read_json, write_json
from mia_bench.utils.errors import MiaError

GPU_FIGURES_PATH = Path("docs/gpu.json")
LIBRARIES = ("diffusers", "transformers", "lightning", "peft", "numpy")
MOST_ATTEMPTS = 2  # a step that ended the process this often is left out


@dataclass
class StepResult:
    """One step: `figures` of one that is done, `error` of one that failed, neither of one that was
    begun and never ended."""

    attempts: int = 0
    seconds: float | None = None
    figures: dict[str, Any] | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """There is nothing more to try."""
        return self.figures is not None or self.error is not None or self.attempts >= MOST_ATTEMPTS


@dataclass
class GpuFigures:
    """What docs/gpu.json holds: the machine, the size of the networks, steps, outcomes of tests."""

    machine: dict[str, Any]
    size: str
    steps: dict[str, StepResult] = field(default_factory=dict)
    tests: dict[str, str] = field(default_factory=dict)

    def figure(self, step: str, name: str) -> Any:
        """One figure, or None where it was not measured."""
        result = self.steps.get(step)
        return (result.figures or {}).get(name) if result else None


def this_machine() -> dict[str, Any]:
    """The card, or the processor where there is none, and versions of what computes on it."""
    import torch

    cuda = torch.cuda.is_available()
    memory = torch.cuda.get_device_properties(0).total_memory if cuda else None
    return {
        "device": torch.cuda.get_device_name(0) if cuda else processor(),
        "gigabytes": round(memory / 1e9, 1) if memory else None,
        "is_gpu": cuda,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "date": strftime("%Y-%m-%d", gmtime()),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def load(path: Path) -> GpuFigures | None:
    """What `path` holds, or None where it is not there.

    Raises:
        MiaError: it is another kind of file.
    """
    if not path.exists():
        return None
    stored = read_json(path)
    try:
        steps = {name: StepResult(**step) for name, step in stored["steps"].items()}
        return GpuFigures(stored["machine"], stored["size"], steps, dict(stored["tests"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise MiaError(
            f"{path} is not a file of `bench gpu` (machine, size, steps, tests): name another with "
            "out=FILE, or remove it."
        ) from error


def open_figures(path: Path, size: str) -> GpuFigures:
    """The figures to go on with: those in `path`, or none yet.

    Raises:
        MiaError: they are of another device, of another torch or of another size.
    """
    here, stored = this_machine(), load(path)
    if stored is None:
        return GpuFigures(here, size)
    before = (stored.machine.get("device"), stored.machine.get("torch"), stored.size)
    now = (here["device"], here["torch"], size)
    if before != now:
        raise MiaError(
            f"{path} holds figures of {_words(*before)}, and this is {_words(*now)}: one file is "
            "of one machine. Name another with out=FILE, or remove it."
        )
    return stored


def _words(device: object, torch_version: object, size: str) -> str:
    return f"{device} with torch {torch_version}, size={size}"


def save(figures: GpuFigures, path: Path) -> None:
    """Write all of it; numbers with four digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = {name: to_json(vars(step)) for name, step in figures.steps.items()}
    write_json(path, vars(figures) | {"steps": steps})
