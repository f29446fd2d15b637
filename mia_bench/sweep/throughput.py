"""How fast this machine was, from the manifests of what it has built: the basis of a sweep's hours.

Nothing is guessed: where no finished artefact of the same base model was made here, there is no
rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mia_bench.storage.artifacts import MANIFEST
from mia_bench.storage.files import read_json
from mia_bench.storage.provenance import machine
from mia_bench.utils.errors import MiaError

K = TypeVar("K")


@dataclass(frozen=True)
class Rates:
    """Seconds per optimiser step by (base, batch size), per image by (base, attack file), and per
    U-Net evaluation by base, for attacks that were not measured yet."""

    step: dict[tuple[str, int], float] = field(default_factory=dict)
    image: dict[tuple[str, str], float] = field(default_factory=dict)
    evaluation: dict[str, float] = field(default_factory=dict)

    def training(self, base: str, batch_size: int, steps: int) -> float | None:
        rate = self.step.get((base, batch_size))
        return None if rate is None else rate * steps

    def extraction(self, base: str, attack: str, rows: int, nfe: int) -> float | None:
        if (base, attack) in self.image:
            return self.image[base, attack] * rows
        rate = self.evaluation.get(base)
        return None if rate is None else rate * rows * nfe


def measured(outputs: Path, here: str | None = None) -> Rates:
    """Means over everything that `here` (default: this machine) finished under `outputs`."""
    here = here or machine()
    step: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    image: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    evaluation: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    base_of: dict[str, str] = {}
    for folder, about in _manifests(outputs.glob("targets/*/" + MANIFEST)):
        base_of[folder.name] = str(about.get("base", folder.name))
        if about.get("machine") == here and isinstance(about.get("batch_size"), int):
            key = base_of[folder.name], about["batch_size"]
            _add(step[key], about.get("seconds_per_step"), 1)
    for folder, about in _manifests(outputs.glob("features/*/*/*/" + MANIFEST)):
        if about.get("machine") == here and isinstance(about.get("cost"), dict):
            model, cost = folder.parent.parent.name, about["cost"]
            base, rows = base_of.get(model, model), cost.get("rows", 0)
            _add(image[base, folder.name.rpartition("-")[0]], cost.get("seconds"), rows)
            _add(evaluation[base], cost.get("seconds"), rows * cost.get("nfe_forward", 0))
    return Rates(_means(step), _means(image), _means(evaluation))


def _manifests(paths: Iterable[Path]) -> Iterable[tuple[Path, dict[str, Any]]]:
    for path in paths:
        try:
            yield path.parent, read_json(path)
        except MiaError:  # half-written by another version or a full disk: no rate from it
            continue


def _add(total: list[float], seconds: Any, count: Any) -> None:
    if isinstance(seconds, int | float) and isinstance(count, int | float) and count > 0:
        total[0] += seconds
        total[1] += count


def _means(totals: dict[K, list[float]]) -> dict[K, float]:
    return {key: seconds / count for key, (seconds, count) in totals.items() if count > 0}
