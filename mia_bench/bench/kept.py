"""docs/benchmarks.json: figures by flat keys, and when and where each part of them was measured."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mia_bench.bench import clock
from mia_bench.bench.clock import Ratio
from mia_bench.storage.files import write_json

OUT = Path("docs/benchmarks.json")
Figures = dict[str, Any]


def keep(part: str, figures: Mapping[str, Any], out: Path = OUT) -> None:
    """Add the figures of one part; those of other parts stay as they are."""
    kept: Figures = json.loads(out.read_text()) if out.exists() else {}
    kept |= {name: to_json(value) for name, value in figures.items()}
    kept["measured"] = kept.get("measured", {}) | {part: circumstances()}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, dict(sorted(kept.items())))


def to_json(value: Any) -> Any:
    if isinstance(value, Ratio):
        return {"value": round(value.value, 4), "lo": round(value.lo, 4), "hi": round(value.hi, 4)}
    if isinstance(value, Mapping):
        return {name: to_json(inner) for name, inner in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def circumstances() -> dict[str, Any]:
    """When, on what, by which clock; the load says whether other work ran meanwhile."""
    import torch

    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "clock": clock.kind(),
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
