"""What is on disk: content keys, manifests, folders that are either complete or absent.

A finished artefact is a folder with a manifest.json that lists the hash of every file beside it.
It is built in `<folder>.tmp` under a lock and renamed, so a kill leaves either nothing or a folder
to resume from, and two processes never build the same thing.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mia_bench.errors import MiaError
from mia_bench.plain import say
from mia_bench.provenance import environment
from mia_bench.ranks import global_rank

MANIFEST = "manifest.json"
KEY_LENGTH = 16
YAML_BYTES = 1 << 20  # of a stored config.yaml; ours have a few thousand
PART = ".part"  # at the end of names of what is not written whole yet
NOT_WRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EFBIG),
    *(errno.EDQUOT, errno.ENOTDIR, errno.EEXIST),
)
PARENT = os.getppid()  # of a rank above zero: rank 0 itself, or what starts and ends them all
PATIENCE = 5.0  # seconds for a lock before a word about who has it
FULL = ("No space left on device", "Disk quota exceeded", "File too large")


def canonical(value: Any) -> str:
    """JSON with sorted keys: equal configurations give equal text whatever their order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def hash_key(value: Any) -> str:
    """16 hex digits identifying a JSON-serialisable value."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=KEY_LENGTH // 2).hexdigest()


def hash_file(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def hash_files(paths: Iterable[Path]) -> str:
    """One key for the content of several files, in the order given; read again once they change."""
    return hash_key([hash_once(path) for path in paths])


def hash_once(path: Path) -> str:
    """`hash_file`, read once by a process for as long as the file does not change."""
    now = path.stat()
    return _hash_seen(path, (now.st_size, now.st_mtime_ns))


@cache
def _hash_seen(path: Path, _state: tuple[int, int]) -> str:
    """A sweep plans hundreds of cells on the same gigabytes of weights."""
    return hash_file(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises MiaError when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MiaError(f"cannot read {path}: {error}. Delete its folder and run again.") from error
    if not isinstance(value, dict):
        raise MiaError(f"cannot read {path}: it holds no object. Delete its folder and run again.")
    return value


def write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """As `read_yaml` reads it."""
    from omegaconf import OmegaConf

    path.write_text(OmegaConf.to_yaml(OmegaConf.create(dict(value))), encoding="utf-8")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a stored config.yaml: plain values, no tags that make objects, no aliases.

    Aliases, which this package never writes, let a page of text unfold into gigabytes.

    Raises:
        MiaError: it cannot be read, is too long, or is no such mapping.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a thousand of them are read
    try:
        if path.stat().st_size > YAML_BYTES:
            raise ValueError(f"more than {YAML_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=loader)):
            raise ValueError("it has aliases, which are not read")
        value = yaml.load(text, Loader=loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise MiaError(f"cannot read {path}: {reason}. It may be of another version.") from error
    if not isinstance(value, dict):
        raise MiaError(f"cannot read {path}: it is no mapping. It may be of another version.")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Whole file or no file: written beside and renamed. NaN is refused: JSON has none."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file of this process alone to write to; it becomes `path`, or goes away with an error."""
    own = os.urandom(6).hex()  # process ids meet where containers share a folder
    partial = path.with_name(f"{path.name}.{own}{PART}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


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
            done = settled(folder, scrap)
            if done and together:
                raise MiaError(meanwhile(folder))
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


def settled(folder: Path, scrap: Sequence[str] = ()) -> bool:
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


def meanwhile(folder: Path) -> str:
    """What a run of several processes says when another was faster: its ranks have other plans."""
    return f"{folder.name} was finished meanwhile. Start this run again: it goes on from there."


def _publish(tmp: Path, folder: Path, scrap: Sequence[str]) -> None:
    for name in scrap:
        _remove(tmp / name)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(tmp, folder)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tmp(folder: Path) -> Path:
    return folder.with_name(folder.name + ".tmp")


def unwritable(error: BaseException) -> str | None:
    """Why a file could not be written, when that is what went wrong, or None.

    Libraries wrap the system's error in types of their own, and keep its words.
    """
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return str(error)
    seen: BaseException | None = error
    while seen is not None:
        if said := next((reason for reason in FULL if reason in str(seen)), None):
            return said
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def locked(path: Path, waits: bool = True) -> Iterator[None]:
    """Alone with the lock file `path`, which the system frees when a process dies.

    Raises:
        MiaError: another process has it, and this one `waits` for nobody.
    """
    lock, what = FileLock(path), path.name.partition(".")[0]
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        if not waits:
            raise MiaError(
                f"another run is at work on {what}, and a run of several processes cannot wait for "
                "it. Start this one again when the other has ended; nothing is lost."
            ) from None
        say(f"waiting for another process that is at work on {what}", error=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def holding(folders: Sequence[Path], together: bool = False) -> Iterator[None]:
    """Keep other processes from asking for the same tables; always in one order, so none deadlocks.

    Not `get_or_build`'s lock, which is taken inside. `together`: as there, rank 0 holds it for all.
    """
    with ExitStack() as locks:
        for folder in sorted(folders) if not (together and global_rank() > 0) else ():
            folder.parent.mkdir(parents=True, exist_ok=True)
            path = folder.with_name(folder.name + ".asking.lock")
            locks.enter_context(locked(path, waits=not together))
        yield


def _wait_for(folder: Path, seconds: float = 86400.0) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while not is_complete(folder):
        if os.getppid() != PARENT:
            raise MiaError(f"rank 0 ended before it finished {folder}: run the same command again.")
        if time.monotonic() > until:
            raise MiaError(f"rank 0 did not finish {folder} within {seconds:.0f} s; see its log.")
        time.sleep(0.05)
    return checked_manifest(folder)


def seal(folder: Path, about: Mapping[str, Any], scrap: Sequence[str] = ()) -> None:
    """Write the manifest: `about`, the environment, and the hash of every file in `folder`.

    Parts that a kill left are removed; what `scrap` names is not listed.
    """
    for path in sorted(folder.rglob(f"*{PART}"), reverse=True):
        _remove(path)
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
