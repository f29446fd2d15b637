"""GPU slots: parallel jobs of one machine take turns, one job to a GPU.

A slot is a lock file per physical GPU in the machine's temporary folder, so sweeps of the same user
respect each other. The operating system frees it when a job dies.
"""

from __future__ import annotations

import getpass
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_mine: list[str] = []
"""The GPU this process has used: CUDA looks at CUDA_VISIBLE_DEVICES only once in its life."""


@contextmanager
def gpu_slot(slots: int | None, wait: float = 1.0) -> Iterator[str | None]:
    """Hold one of the first `slots` visible GPUs (-1: of all) and show CUDA nothing else.

    Yields: the GPU as CUDA_VISIBLE_DEVICES names it; None without `slots`.
    Raises: MiaError for more slots than GPUs.
    """
    if slots is None:
        yield None
        return
    chosen = _mine or choose(visible_devices(), slots)  # after the first job one is visible
    with hold_one(chosen, slot_folder(), wait) as device:
        if not _mine:
            _mine.append(device)
            os.environ[VISIBLE_DEVICES] = device
        yield device


def choose(devices: Sequence[str], slots: int) -> Sequence[str]:
    """The GPUs to hand out; raises MiaError when there are fewer than `slots`."""
    if not devices:
        raise MiaError("trainer.gpu_slots needs a GPU and none is visible: leave it out.")
    if slots == 0 or slots < -1 or slots > len(devices):
        raise MiaError(
            f"trainer.gpu_slots={slots}, but {len(devices)} GPUs are visible: use 1 to "
            f"{len(devices)}, or -1 for all of them."
        )
    return devices if slots == -1 else devices[:slots]


@contextmanager
def hold_one(devices: Sequence[str], folder: Path, wait: float = 1.0) -> Iterator[str]:
    """The first free one of `devices`, held until the block ends; waits while all are taken.

    Raises: MiaError where `folder` is somebody else's, who could have locks written over files.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise MiaError(
            f"{folder} belongs to somebody else, and locks of GPUs would be written there: set "
            "TMPDIR to a folder of your own."
        )
    announced = False
    while True:
        for device in devices:
            lock = FileLock(folder / f"gpu-{device.replace('/', '_')}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield device
            finally:
                lock.release()
            return
        if not announced:
            announced = True
            echo(f"waiting for one of {len(devices)} GPU slots", error=True)
        time.sleep(wait)


def visible_devices() -> list[str]:
    """GPUs that CUDA would see, under the names of CUDA_VISIBLE_DEVICES; starts no CUDA."""
    named = os.environ.get(VISIBLE_DEVICES)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def slot_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"mia_bench-slots-{getpass.getuser()}"
