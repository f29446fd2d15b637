"""The number of rows per U-Net call that is fastest here: found once per device, then remembered.

Speed and memory only. Answers agree to the last digits whatever the chunk, which is why it is in no
identity.
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

CHUNKS_FILE = "chunks.json"
LARGEST_CHUNK = 256
SLOWEST_CALL_SECONDS = 8.0  # seconds a call may take before larger ones are not tried
MIN_SPEED_GAIN = 0.97  # a larger chunk must be this much faster per row


def tuned_chunk(target: Target, folder: Path) -> int:
    """Rows per call for this network on this device, as remembered in `folder` or found now."""
    key = chunk_context(target)
    found = remembered(folder).get(key)
    if found is None:
        found = fastest(lambda rows: _seconds(target, rows))
        remember(folder, key, found)
    return found


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
            "compiled": target.compile_mode,
        }
    )


def remembered(folder: Path) -> dict[str, int]:
    """Chunks found earlier; a file that cannot be read counts as none."""
    try:
        found = read_json(folder / CHUNKS_FILE)
    except MiaError:
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {key: rows for key, rows in entries if isinstance(rows, int) and rows > 0}


def remember(folder: Path, key: str, rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CHUNKS_FILE, remembered(folder) | {key: rows})


def fastest(seconds: Callable[[int], float]) -> int:
    """The smallest power of two that a larger one does not beat by `MIN_SPEED_GAIN`.

    `seconds(rows)` times one call. Doubling ends where two in a row bring nothing, a call takes
    longer than `SLOWEST_CALL_SECONDS`, or memory does.
    """
    best, pace, idle, rows = 1, float("inf"), 0, 1
    while rows <= LARGEST_CHUNK and idle < 2:
        try:
            taken = seconds(rows)
        except RuntimeError as error:
            if rows == 1 or not out_of_memory(error):
                raise
            break
        idle += 1
        if taken / rows < MIN_SPEED_GAIN * pace:
            best, pace, idle = rows, taken / rows, 0
        if taken > SLOWEST_CALL_SECONDS:
            break
        rows *= 2
    return best


@torch.no_grad()
def _seconds(target: Target, rows: int) -> float:
    """One call of `rows`, the better of two after a first; not counted as questions.

    The first compiles and loads kernels, which is not what a call takes.
    """
    z = torch.zeros(rows, *target.latent_shape, device=target.device)
    t = torch.zeros(rows, dtype=torch.long, device=target.device)
    cond = target.embed([""] * rows, remember=False)
    times: list[float] = []
    target.raw(z, t, cond).sum().item()
    while len(times) < 2 and max(times, default=0.0) <= SLOWEST_CALL_SECONDS:
        began = time.perf_counter()
        target.raw(z, t, cond).sum().item()  # waits for the device
        times.append(time.perf_counter() - began)
    return min(times)
