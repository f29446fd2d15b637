"""What is on disk: content keys, manifests, folders that are either complete or absent.

A finished artefact is a folder with a manifest.json that lists the hash of every file beside it.
It is built in `<folder>.tmp` under a lock and renamed, so a kill leaves either nothing or a folder
to resume from, and two processes never build the same thing.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mia_bench.storage.files import PARTIAL_SUFFIX, read_json, remove_path, unwritable, write_json
from mia_bench.storage.hashing import canonical, hash_file, hash_key, hash_once
from mia_bench.storage.locks import locked
from mia_bench.storage.provenance import environment
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.errors import MiaError

MANIFEST = "manifest.json"


PARENT_PID = os.getppid()  # of a rank above zero: rank 0 itself, or what starts and ends them all


def is_complete(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def get_or_build(
    folder: Path,
    build: Callable[[Path], Mapping[str, Any]],
    together: bool = False,
    scrap: Sequence[str] = (),
) -> dict[str, Any]:
    """The manifest of `folder`, built first when it is not there.

    `build(tmp)` fills `tmp` (which holds what an interrupted build left) and returns what the
    manifest should say. What `scrap` names in it serves resuming alone, and goes once everything
    else is sealed. A second process waits for the first and then finds the result. Ranks above
    zero of a distributed run wait too. With `together` they take part in the build, without the
    lock, which rank 0 holds; it does not wait for another run, because they would not notice.

    Raises:
        MiaError: the outputs folder cannot be written, a finished file changed since, or, with
            `together`, another run is at work on `folder` or has just finished it.
    """
    if is_complete(folder):
        return checked_manifest(folder)
    tmp = _tmp(folder)
    if global_rank() > 0:
        if together:
            build(tmp)
        return _wait_for(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(folder.name + ".lock"), waits=not together):
            done = is_settled(folder, scrap)
            if done and together:
                raise MiaError(finished_elsewhere(folder))
            if not done:
                tmp.mkdir(exist_ok=True)
                began = time.monotonic()
                about = dict(build(tmp))
                wall = {"wall_seconds": round(time.monotonic() - began, 2)}
                seal(tmp, wall | about, scrap)
                _publish(tmp, folder, scrap)
    except Exception as error:
        problem = unwritable(error)
        if problem is None or isinstance(error, MiaError):
            raise
        raise MiaError(
            f"cannot write {folder}: {problem}. Free some space or point paths.outputs at a folder "
            "you may write to; what is finished stays usable."
        ) from error
    return checked_manifest(folder)


def is_settled(folder: Path, scrap: Sequence[str] = ()) -> bool:
    """`folder` is complete, perhaps only now: a build that was killed after its seal is published.

    For who holds the lock. A sealed build that changed since is built again.
    """
    tmp = _tmp(folder)
    if not is_complete(folder) and is_complete(tmp):
        try:
            checked_manifest(tmp)
        except MiaError:
            (tmp / MANIFEST).unlink()
        else:
            _publish(tmp, folder, scrap)
    return is_complete(folder)


def finished_elsewhere(folder: Path) -> str:
    """What a run of several processes says when another was faster: its ranks have other plans."""
    return f"{folder.name} was finished meanwhile. Start this run again: it goes on from there."


def _publish(tmp: Path, folder: Path, scrap: Sequence[str]) -> None:
    for name in scrap:
        remove_path(tmp / name)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(tmp, folder)


def _tmp(folder: Path) -> Path:
    return folder.with_name(folder.name + ".tmp")


def _wait_for(folder: Path, seconds: float = 86400.0) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while not is_complete(folder):
        if os.getppid() != PARENT_PID:
            raise MiaError(f"rank 0 ended before it finished {folder}: run the same command again.")
        if time.monotonic() > until:
            raise MiaError(f"rank 0 did not finish {folder} within {seconds:.0f} s; see its log.")
        time.sleep(0.05)
    return checked_manifest(folder)


def seal(folder: Path, about: Mapping[str, Any], scrap: Sequence[str] = ()) -> None:
    """Write the manifest: `about`, the environment, and the hash of every file in `folder`.

    Parts that a kill left are removed; what `scrap` names is not listed.
    """
    for path in sorted(folder.rglob(f"*{PARTIAL_SUFFIX}"), reverse=True):
        remove_path(path)
    files = {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name != MANIFEST
        and path.relative_to(folder).parts[0] not in scrap
    }
    said = json.loads(canonical({**about, **environment(), "files": files}))
    write_json(folder / MANIFEST, {**said, "seal": hash_key(said)})


def checked_manifest(folder: Path, under: Path | None = None) -> dict[str, Any]:
    """The manifest, after it and every file it lists, or those `under`, were found unchanged."""
    manifest = read_json(folder / MANIFEST)
    files, sealed = manifest.get("files"), manifest.get("seal")
    said = {name: value for name, value in manifest.items() if name != "seal"}
    if not isinstance(files, dict) or (sealed is not None and sealed != hash_key(said)):
        raise MiaError(_changed(folder / MANIFEST, folder))
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
