"""Memory between jobs and how much of it a piece of work took."""

from __future__ import annotations

import gc
import sys
from pathlib import Path


def free() -> None:
    """Give back what finished work held, on the GPU too, so that the next job has all of it.

    Lightning's objects refer to each other in circles: only the collector drops their tensors.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def peak() -> tuple[str, int]:
    """What was most in use, in bytes: of the GPU since `forget_peak`, else of the process ever."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return "GPU", torch.cuda.max_memory_reserved()
    return "process", peak_of_process()


def peak_of_process() -> int:
    """Resident bytes of this program at its height.

    Linux hands a parent's ru_maxrss on to what it starts; VmHWM begins anew with the program.
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
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
