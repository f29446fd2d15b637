"""How memory and time of a predict pass grow with the number of samples.

Run as a process of its own, because peak memory belongs to a process:
`python -m mia_bench.bench.growth 1000 loss` prints seconds and peak bytes as JSON.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mia_bench.bench.apart import reported

SIZES = (100, 1_000, 10_000)
RESOLUTION = 16  # of the pictures: the U-Net costs little, so what grows besides it is seen


def measure(rows: int, attack: str) -> dict[str, float]:
    """Seconds and peak memory of one pass over `rows` synthetic pictures, in a new process."""
    return reported(command(rows, attack))


def command(rows: int, attack: str, folder: Path | None = None) -> list[str]:
    """Arguments of the process of `measure`; with `folder`, of one that a kill leaves resumable."""
    words = ["-m", "mia_bench.bench.growth", str(rows), attack]
    return words if folder is None else [*words, str(folder)]


def exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Slope of log seconds against log rows: 1 where time is proportional to rows."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def pass_over(rows: int, attack: str, folder: Path) -> dict[str, float]:
    """One predict pass with shards and merge, on pictures made as they are asked for.

    `asked` rows are those that no shard of `folder` held yet. Seconds are of computing.
    """
    import time

    from mia_bench.bench import subjects
    from mia_bench.config.schema import TrainerOptions
    from mia_bench.data.source import Item
    from mia_bench.extraction.predict import run_pass
    from mia_bench.extraction.shards import finished, merge
    from mia_bench.utils.memory import peak_of_process

    target = subjects.tiny_target(RESOLUTION)
    items = [
        Item(f"made:{i:012x}", f"made up picture {i}", str(i), partial(_draw, i))
        for i in range(rows)
    ]
    places = {attack: (subjects.attack(attack), folder)}
    began, options = time.process_time(), TrainerOptions(accelerator="cpu")
    held = finished({attack: folder})[attack]
    run_pass(target, places, items, RESOLUTION, 32, options, "bench")
    passed = time.process_time()
    merged, _ = merge(folder, [item.sample_id for item in items])
    peak = peak_of_process()
    return {
        "rows": len(merged.sample_id),
        "asked": rows - len(held),
        "seconds": time.process_time() - began,
        "merge": time.process_time() - passed,
        "peak": float(peak),
    }


def _draw(i: int, resolution: int) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(i).integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def main() -> None:
    rows, attack, *folder = sys.argv[1:]
    with TemporaryDirectory() as made:
        print(json.dumps(pass_over(int(rows), attack, Path(folder[0] if folder else made))))


if __name__ == "__main__":
    main()
