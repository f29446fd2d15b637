"""Memory of predict passes: how it and time grow with the rows, and what each attack needs.

Peak memory belongs to a process, so each of these passes runs in one of its own.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mia_bench.bench.timing import run_child

DATASET_SIZES = (100, 1_000, 10_000)  # rows
RESOLUTION = 16  # pixels: the U-Net costs little, so what grows besides it is seen
BATCH_ROWS = 32  # eval.batch_size

ATTACKS = (
    *("loss", "mc", "clid", "clid_importance", "noise_agg", "pia", "pian", "secmi", "secmi_nns"),
    *("pfami", "sima", "rediffuse", "drc", "drc_full", "gradient_masking", "gsa", "gsa2"),
)


def measure_pass(rows: int, attack: str) -> dict[str, float]:
    """`predict_pass` over `rows` synthetic images, in a new process."""
    result: dict[str, float] = run_child("predict_pass", str(rows), attack)
    return result


def growth_exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Slope of log seconds against log rows: 1 where time is proportional to rows."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def predict_pass(rows: int, attack: str, folder: Path) -> dict[str, float]:
    """One predict pass with shards and merge, on images that are made when they are loaded.

    Shards that `folder` holds already are not extracted again.

    Returns: `rows` of the merged table, `extracted` of them in this pass, processor `seconds` and
        of those the `merge` of the shards, `peak` bytes of the process.
    """
    from mia_bench.bench import workloads
    from mia_bench.config.schema import TrainerOptions
    from mia_bench.data.source import Item
    from mia_bench.extraction.predict import run_pass
    from mia_bench.extraction.shards import finished, merge
    from mia_bench.utils.memory import peak_of_process

    target = workloads.tiny_target(RESOLUTION)
    items = [
        Item(f"made:{i:012x}", f"made up picture {i}", str(i), partial(_noise_image, i))
        for i in range(rows)
    ]
    destinations = {attack: (workloads.attack(attack), folder)}
    began, options = time.process_time(), TrainerOptions(accelerator="cpu")
    stored_rows = finished({attack: folder})[attack]
    run_pass(target, destinations, items, RESOLUTION, BATCH_ROWS, options, "bench")
    merge_began = time.process_time()
    table, _ = merge(folder, [item.sample_id for item in items])
    peak = peak_of_process()
    return {
        "rows": len(table.sample_id),
        "extracted": rows - len(stored_rows),
        "seconds": time.process_time() - began,
        "merge": time.process_time() - merge_began,
        "peak": float(peak),
    }


def _noise_image(i: int, resolution: int) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(i).integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def attack_peaks() -> dict[str, int]:
    """Peak bytes of the predict step on one batch of the tiny model, by attack.

    `unet` is the bare U-Net on as many rows, which every attack needs at least.
    """
    peaks = {"unet": run_child("peak_memory")}
    return peaks | {name: run_child("peak_memory", name) for name in ATTACKS}


def peak_of_batch(attack: str | None) -> int:
    """Peak bytes of this process after one batch; without an attack, of the bare U-Net."""
    from mia_bench.bench.overhead import predict_step
    from mia_bench.bench.unet_baseline import unet_loop
    from mia_bench.bench.workloads import tiny
    from mia_bench.utils.memory import peak_of_process

    workload = tiny(BATCH_ROWS)
    if attack is None:
        unet_loop(workload, BATCH_ROWS, workload.target.chunk)()
    else:
        predict_step(workload, attack)()
    return peak_of_process()
