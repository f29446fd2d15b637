"""Memory between jobs, and the peak of what a job used."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

# of glibc's malloc.h, mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 512 * 2**20
KEPT_BLOCK_BYTES = 32 * 2**20  # the most that every glibc accepts


def keep_freed_memory() -> bool:
    """Have the C library keep up to 512 MiB of freed memory; True where it does (glibc).

    The tensors of a network's call are freed and wanted again in every call. glibc gives most of
    them back to the kernel between calls, which then fills thousands of new pages with zeros, a
    tenth of a pass of the bundled model. Peaks and answers stay what they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    kept = mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
    return bool(kept)


def free() -> None:
    """Release what finished work held, on the GPU too, so that the next job has all of it.

    Lightning's objects refer to each other in circles: only the collector drops their tensors.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def peak() -> tuple[str, int]:
    """("GPU", most bytes since `forget_peak`), or without a GPU ("process", most bytes ever)."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return "GPU", torch.cuda.max_memory_reserved()
    return "process", peak_of_process()


def peak_of_process() -> int:
    """Most resident bytes of this program so far.

    On Linux a child inherits its parent's ru_maxrss, while VmHWM begins anew with the program.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Measure the peak of the GPU anew from here on."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
