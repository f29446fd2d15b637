"""Lock files: two processes never work on the same artefact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mia_bench.storage import layout
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

LOCK_NOTICE_SECONDS = 5.0  # of waiting in silence; then a message names what is locked


@contextmanager
def locked(path: Path, waits: bool = True) -> Iterator[None]:
    """Hold the lock file `path`, which the system frees when a process dies.

    Raises:
        MiaError: without `waits`, when another process holds it.
    """
    lock, what = FileLock(path), path.name.partition(".")[0]
    try:
        lock.acquire(timeout=LOCK_NOTICE_SECONDS)
    except Timeout:
        if not waits:
            raise MiaError(
                f"another run is at work on {what}, and a run of several processes cannot wait for "
                "it. Start this one again when the other has ended; nothing is lost."
            ) from None
        echo(f"waiting for another process that is at work on {what}", error=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def holding(folders: Sequence[Path], distributed: bool = False) -> Iterator[None]:
    """Keep other processes from extracting into the same feature tables.

    Locks are taken in one order, so no two processes wait for each other. They are not those of
    `get_or_build`, which is called while these are held.

    Args:
        distributed: this is one rank of several, for all of which rank 0 holds the locks; it does
            not wait for another run.
    """
    with ExitStack() as locks:
        for folder in sorted(folders) if not (distributed and global_rank() > 0) else ():
            folder.parent.mkdir(parents=True, exist_ok=True)
            path = layout.extraction_lock_file(folder)
            locks.enter_context(locked(path, waits=not distributed))
        yield
