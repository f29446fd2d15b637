"""docs/benchmarks.json: figures by flat keys, and when and where each benchmark was run."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mia_bench.bench import timing
from mia_bench.bench.timing import Ratio
from mia_bench.storage.files import write_json

FIGURES_PATH = Path("docs/benchmarks.json")
Figures = dict[str, Any]
"""Numbers or Ratios by flat key, `benchmark.figure`."""


def add_figures(benchmark: str, figures: Mapping[str, Any], path: Path = FIGURES_PATH) -> None:
    """Store the figures of one benchmark; those of others stay as they are."""
    stored: Figures = json.loads(path.read_text()) if path.exists() else {}
    stored |= {name: to_json(value) for name, value in figures.items()}
    stored["measured"] = stored.get("measured", {}) | {benchmark: circumstances()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(sorted(stored.items())))


def to_json(value: Any) -> Any:
    """Four digits of every number; of a Ratio its value and the middle half of its rounds."""
    if isinstance(value, Ratio):
        return {"value": round(value.value, 4), "lo": round(value.lo, 4), "hi": round(value.hi, 4)}
    if isinstance(value, Mapping):
        return {name: to_json(inner) for name, inner in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def circumstances() -> dict[str, Any]:
    """When, on what and by which clock; the load tells whether other work ran meanwhile."""
    import torch

    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "clock": timing.clock_in_use(),
        "load": round(os.getloadavg()[0], 1),
    }


def processor() -> str:
    """Its name, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
