"""How fast this machine was, from the manifests of what it has built: the basis of a sweep's hours.

Nothing is guessed: where no finished artefact of the same base model was made here, there is no
rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mia_bench.storage import layout
from mia_bench.storage.index import feature_folders, model_folders
from mia_bench.storage.provenance import machine
from mia_bench.storage.stored_files import Unreadable, read_manifest

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
    for folder, manifest in _manifests(model_folders(outputs)):
        base_of[folder.name] = manifest.get("base") or folder.name
        if manifest.get("machine") == here and manifest.get("batch_size") is not None:
            key = base_of[folder.name], manifest["batch_size"]
            _add(step[key], manifest.get("seconds_per_step"), 1)
    for folder, manifest in _manifests(feature_folders(outputs)):
        cost = manifest.get("cost")
        if manifest.get("machine") == here and cost is not None:
            model_key, _ = layout.model_and_step(folder)
            attack, _ = layout.split_name(folder.name)
            base, rows = base_of.get(model_key, model_key), cost.get("rows", 0)
            _add(image[base, attack], cost.get("seconds"), rows)
            _add(evaluation[base], cost.get("seconds"), rows * cost.get("nfe_forward", 0))
    return Rates(_means(step), _means(image), _means(evaluation))


def _manifests(folders: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Those that can be read; nothing is measured by the others."""
    for folder in folders:
        try:
            yield folder, read_manifest(folder)
        except Unreadable:
            continue


def _add(total: list[float], seconds: float | None, count: float) -> None:
    if seconds is not None and count > 0:
        total[0] += seconds
        total[1] += count


def _means(totals: dict[K, list[float]]) -> dict[K, float]:
    return {key: seconds / count for key, (seconds, count) in totals.items() if count > 0}
