"""How memory and time of a predict pass grow with the number of samples.

Run as a process of its own, because peak memory belongs to a process:
`python -m mia_bench.bench.growth 1000 loss` prints seconds and peak bytes as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

SIZES = (100, 1_000, 10_000)


def measure(rows: int, attack: str) -> dict[str, float]:
    """Seconds and peak memory of one pass over `rows` synthetic pictures, in a new process."""
    command = [sys.executable, "-m", "mia_bench.bench.growth", str(rows), attack]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Slope of log seconds against log rows: 1 where time is proportional to rows."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def pass_over(rows: int, attack: str) -> dict[str, float]:
    """One predict pass with shards and merge, on pictures made as they are asked for."""
    import resource
    import time

    from mia_bench.bench import subjects
    from mia_bench.config import TrainerOptions
    from mia_bench.data.source import Item
    from mia_bench.runner import merge, run_pass

    target = subjects.tiny(1).target
    items = [
        Item(f"made:{i:012x}", f"made up picture {i}", str(i), partial(_draw, i))
        for i in range(rows)
    ]
    with TemporaryDirectory() as folder:
        places = {attack: (subjects.attack(attack), Path(folder))}
        options = TrainerOptions(accelerator="cpu")
        began = time.perf_counter()
        run_pass(target, places, items, subjects.RESOLUTION, 32, options, "bench")
        merge(Path(folder), [item.sample_id for item in items])
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rows": rows, "seconds": seconds, "peak": float(peak)}


def _draw(i: int, resolution: int) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(i).integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


if __name__ == "__main__":
    print(json.dumps(pass_over(int(sys.argv[1]), sys.argv[2])))
