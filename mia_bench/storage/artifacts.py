"""Finished folders on disk: complete, with a manifest, or absent.

A finished artefact is a folder with a manifest.json that lists the hash of every file beside it.
It is built in `<folder>.tmp` under a lock and renamed, so a kill leaves either nothing or a folder
to resume from, and two processes never build the same thing.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mia_bench.storage import layout
from mia_bench.storage.files import (
    PARTIAL_SUFFIX,
    read_json,
    remove_path,
    unwritable,
    write_advice,
    write_json,
)
from mia_bench.storage.hashing import canonical, hash_file, hash_key, hash_once
from mia_bench.storage.locks import locked
from mia_bench.storage.provenance import environment
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.errors import MiaError

# For a rank above zero this is rank 0, or the launcher of all ranks: once it is gone, waiting for
# rank 0 is pointless.
PARENT_PID = os.getppid()
RANK_0_TIMEOUT_SECONDS = 86400.0


def is_complete(folder: Path) -> bool:
    return (folder / layout.MANIFEST_FILE).is_file()


def get_or_build(
    folder: Path, build: Callable[[Path], Mapping[str, Any]], discard: Sequence[str] = ()
) -> dict[str, Any]:
    """The manifest of `folder`, which rank 0 builds when it is not there.

    A second process waits for the first and then reads its result, and so do the other ranks of a
    distributed run.

    Args:
        build: fills the folder it is given, which holds what an interrupted build left, and returns
            what the manifest should say.
        discard: names of files in the folder that serve resuming alone; they are removed once
            everything else is sealed.

    Raises:
        MiaError: the outputs folder cannot be written, or a finished file has changed since.
    """
    if is_complete(folder):
        return checked_manifest(folder)
    if global_rank() > 0:
        return _wait_for(folder)
    with _readable_disk_errors(folder), _build_lock(folder, waits=True):
        if not is_settled(folder, discard):
            _build(folder, build, discard)
    return checked_manifest(folder)


def get_or_build_on_all_ranks(
    folder: Path, build: Callable[[Path], Mapping[str, Any]], discard: Sequence[str] = ()
) -> dict[str, Any]:
    """As `get_or_build`, for work that every rank of a distributed run takes part in.

    Rank 0 holds the lock, seals and publishes. It does not wait for another run: its other ranks,
    which take no lock, would begin without it.

    Raises:
        MiaError: as `get_or_build`, or another run is at work on `folder` or has just finished it.
    """
    if is_complete(folder):
        return checked_manifest(folder)
    if global_rank() > 0:
        build(layout.build_folder(folder))
        return _wait_for(folder)
    with _readable_disk_errors(folder), _build_lock(folder, waits=False):
        if is_settled(folder, discard):
            raise MiaError(finished_elsewhere(folder))
        _build(folder, build, discard)
    return checked_manifest(folder)


@contextmanager
def _build_lock(folder: Path, waits: bool) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(layout.lock_file(folder), waits):
        yield


@contextmanager
def _readable_disk_errors(folder: Path) -> Iterator[None]:
    """A disk that is full or read-only becomes a message that says what to do."""
    try:
        yield
    except Exception as error:
        problem = unwritable(error)
        if problem is None or isinstance(error, MiaError):
            raise
        raise MiaError(f"cannot write {folder}: {problem}. {write_advice(problem)}") from error


def _build(
    folder: Path, build: Callable[[Path], Mapping[str, Any]], discard: Sequence[str]
) -> None:
    """Build, seal and publish, for the process that holds the lock."""
    tmp = layout.build_folder(folder)
    tmp.mkdir(exist_ok=True)
    began = time.monotonic()
    about = dict(build(tmp))
    wall = {"wall_seconds": round(time.monotonic() - began, 2)}
    seal(tmp, wall | about, discard)
    _publish(tmp, folder, discard)


def is_settled(folder: Path, discard: Sequence[str] = ()) -> bool:
    """Whether `folder` is complete, once a build that was killed after its seal is published.

    Only for the process that holds the lock. A sealed build that has changed since is not
    published: its manifest is removed, and it is built again.
    """
    tmp = layout.build_folder(folder)
    if not is_complete(folder) and is_complete(tmp):
        try:
            checked_manifest(tmp)
        except MiaError:
            (tmp / layout.MANIFEST_FILE).unlink()
        else:
            _publish(tmp, folder, discard)
    return is_complete(folder)


def finished_elsewhere(folder: Path) -> str:
    """Why a run of several processes stops when another run was faster: its ranks may have made
    their plans before or after that."""
    return (
        f"{folder.name} was finished by another run after this one was planned. Start this run "
        "again: it goes on from there."
    )


def _publish(tmp: Path, folder: Path, discard: Sequence[str]) -> None:
    for name in discard:
        remove_path(tmp / name)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(tmp, folder)


def _wait_for(folder: Path, seconds: float = RANK_0_TIMEOUT_SECONDS) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while not is_complete(folder):
        if os.getppid() != PARENT_PID:
            raise MiaError(f"rank 0 ended before it finished {folder}: run the same command again.")
        if time.monotonic() > until:
            raise MiaError(f"rank 0 did not finish {folder} within {seconds:.0f} s; see its log.")
        time.sleep(0.05)
    return checked_manifest(folder)


def seal(folder: Path, about: Mapping[str, Any], discard: Sequence[str] = ()) -> None:
    """Write the manifest: `about`, the environment, and the hash of every file in `folder`.

    Partial files that a kill left are removed; files named in `discard` are not listed.
    """
    for path in sorted(folder.rglob(f"*{PARTIAL_SUFFIX}"), reverse=True):
        remove_path(path)
    files = {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name != layout.MANIFEST_FILE
        and path.relative_to(folder).parts[0] not in discard
    }
    manifest = json.loads(canonical({**about, **environment(), "files": files}))
    write_json(folder / layout.MANIFEST_FILE, {**manifest, "seal": hash_key(manifest)})


def checked_manifest(folder: Path, under: Path | None = None) -> dict[str, Any]:
    """The manifest of `folder`.

    Args:
        under: check only the files in this folder.

    Raises:
        MiaError: the manifest or a file that it lists is missing or has changed since.
    """
    manifest = read_json(folder / layout.MANIFEST_FILE)
    files, sealed = manifest.get("files"), manifest.get("seal")
    content = {name: value for name, value in manifest.items() if name != "seal"}
    if not isinstance(files, dict) or (sealed is not None and sealed != hash_key(content)):
        raise MiaError(_changed(folder / layout.MANIFEST_FILE, folder))
    for name, expected in files.items():
        path = folder / name
        if under is not None and not path.is_relative_to(under):
            continue
        if not path.is_file() or hash_once(path) != expected:
            raise MiaError(_changed(path, folder))
    return manifest


def _changed(path: Path, folder: Path) -> str:
    state = "changed" if path.is_file() else "is missing"
    return f"{path} {state} since it was written. Delete {folder} to build it again."
