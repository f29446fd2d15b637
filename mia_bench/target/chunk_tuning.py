"""The number of rows per U-Net call that is fastest here: measured once per device, then kept.

Speed and memory only. Predictions agree to the last digits whatever the chunk, which is why it is
in no identity.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.target.model import Target
from mia_bench.utils.errors import MiaError
from mia_bench.utils.oom_batching import out_of_memory
from mia_bench.utils.terminal import echo

CHUNKS_FILE = "chunks.json"
LARGEST_CHUNK_ROWS = 256
SLOWEST_CALL_SECONDS = 8.0  # a call that takes longer ends the search
MAX_TIME_RATIO = 0.97  # per row, of a larger chunk to the best before: else it is not worth it


def tuned_chunk(target: Target, folder: Path) -> int:
    """Rows per call for this network on this device, as remembered in `folder` or measured now."""
    key = chunk_context(target)
    rows = remembered(folder).get(key)
    if rows is None:
        rows = fastest(lambda rows: _seconds(target, rows))
        remember(folder, key, rows)
    return rows


def chunk_context(target: Target) -> str:
    """Key of what decides which chunk is fastest: device, library, threads, network, precision."""
    cuda = target.device.type == "cuda"
    return hash_key(
        {
            "device": torch.cuda.get_device_name(target.device) if cuda else target.device.type,
            "threads": 0 if cuda else torch.get_num_threads(),
            "torch": torch.__version__,
            "unet": sorted(str(tuple(p.shape)) for p in target.unet.parameters()),
            "latent": list(target.latent_shape),
            "dtype": str(target.dtype),
            "compiled": target.predictor.compile_mode,
        }
    )


def remembered(folder: Path) -> dict[str, int]:
    """Chunks measured earlier, by context; a file that cannot be read holds none."""
    try:
        stored = read_json(folder / CHUNKS_FILE)
    except MiaError:
        return {}
    chunks = stored.items() if isinstance(stored, dict) else ()
    return {key: rows for key, rows in chunks if isinstance(rows, int) and rows > 0}


def remember(folder: Path, key: str, rows: int) -> None:
    """Add the chunk of one context to those in `folder`, as far as it can be written: it is
    measured again where it is not there, as latents are encoded again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CHUNKS_FILE, remembered(folder) | {key: rows})
    except OSError as error:
        echo(f"the fastest chunk is not kept: cannot write {folder}: {error}", error=True)


def fastest(seconds: Callable[[int], float]) -> int:
    """The smallest power of two that a larger one does not beat by `MAX_TIME_RATIO`.

    `seconds(rows)` times one call. Doubling ends where two in a row bring nothing, a call takes
    longer than `SLOWEST_CALL_SECONDS`, or memory does.
    """
    best, seconds_per_row, idle, rows = 1, float("inf"), 0, 1
    while rows <= LARGEST_CHUNK_ROWS and idle < 2:
        try:
            taken = seconds(rows)
        except RuntimeError as error:
            if rows == 1 or not out_of_memory(error):
                raise
            break
        idle += 1
        if taken / rows < MAX_TIME_RATIO * seconds_per_row:
            best, seconds_per_row, idle = rows, taken / rows, 0
        if taken > SLOWEST_CALL_SECONDS:
            break
        rows *= 2
    return best


@torch.no_grad()
def _seconds(target: Target, rows: int) -> float:
    """Of one call of `rows`, the better of two after a first; they are not counted as queries.

    The first call compiles and loads kernels, which is not what a call takes.
    """
    z = torch.zeros(rows, *target.latent_shape, device=target.device)
    t = torch.zeros(rows, dtype=torch.long, device=target.device)
    cond = target.embed([""] * rows, remember=False)
    times: list[float] = []
    target.predictor(z, t, cond).sum().item()
    while len(times) < 2 and max(times, default=0.0) <= SLOWEST_CALL_SECONDS:
        began = time.perf_counter()
        target.predictor(z, t, cond).sum().item()  # waits for the device
        times.append(time.perf_counter() - began)
    return min(times)
