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
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from mia_bench.errors import MiaError
from mia_bench.secret import blotted

MANIFEST = "manifest.json"
KEY_LENGTH = 16
YAML_BYTES = 1 << 20  # of a stored config.yaml; ours have a few thousand
NOT_WRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC),
    *(errno.EDQUOT, errno.ENOTDIR, errno.EEXIST),
)


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
    seen = [(path, path.stat()) for path in paths]
    return hash_key([_hash_seen(path, (now.st_size, now.st_mtime_ns)) for path, now in seen])


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
    partial = path.with_name(path.name + ".part")
    partial.write_text(
        json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    os.replace(partial, path)


def is_complete(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def get_or_build(
    folder: Path, build: Callable[[Path], Mapping[str, Any]], together: bool = False
) -> dict[str, Any]:
    """The manifest of `folder`, built first when it is not there.

    `build(tmp)` fills `tmp` (which holds what an interrupted build left) and returns what the
    manifest should say. A second process waits for the first and then finds the result. Ranks above
    zero of a distributed run wait too; with `together` they take part in the build, without the
    lock, which rank 0 holds.

    Raises:
        MiaError: the outputs folder cannot be written, or a finished file changed since.
    """
    if is_complete(folder):
        return checked_manifest(folder)
    tmp = folder.with_name(folder.name + ".tmp")
    if global_rank() > 0:
        if together:
            build(tmp)
        return _wait_for(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not is_complete(folder):
                tmp.mkdir(exist_ok=True)
                began = time.monotonic()
                about = dict(build(tmp))
                seal(tmp, {"wall_seconds": round(time.monotonic() - began, 2)} | about)
                if folder.exists():
                    shutil.rmtree(folder)
                os.replace(tmp, folder)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        raise MiaError(
            f"cannot write {folder}: {error}. Free some space or point paths.outputs at a folder "
            "you may write to; what is finished stays usable."
        ) from error
    return checked_manifest(folder)


@contextmanager
def holding(folders: Sequence[Path]) -> Iterator[None]:
    """Keep other processes from asking for the same tables; always in one order, so none deadlocks.

    Not `get_or_build`'s lock, which is taken inside.
    """
    with ExitStack() as locks:
        for folder in sorted(folders):
            folder.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(FileLock(folder.with_name(folder.name + ".asking.lock")))
        yield


def global_rank() -> int:
    """Rank of this process as its launcher set it (torchrun, Slurm, Lightning's own)."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def _wait_for(folder: Path, seconds: float = 86400.0) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while not is_complete(folder):
        if time.monotonic() > until:
            raise MiaError(f"rank 0 did not finish {folder} within {seconds:.0f} s; see its log.")
        time.sleep(0.05)
    return checked_manifest(folder)


def seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest: `about`, the environment, and the hash of every file in `folder`."""
    files = {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    write_json(folder / MANIFEST, {**about, **environment(), "files": files})


def checked_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, after every file it lists was found unchanged."""
    manifest = read_json(folder / MANIFEST)
    for name, expected in manifest.get("files", {}).items():
        path = folder / name
        if not path.is_file() or hash_file(path) != expected:
            state = "changed" if path.is_file() else "is missing"
            raise MiaError(
                f"{path} {state} since it was written. Delete {folder} to build it again."
            )
    return manifest


def environment() -> dict[str, Any]:
    """What produced an artefact: code, versions, machine, command."""
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": [Path(sys.argv[0]).name, *map(blotted, sys.argv[1:])],
        "platform": f"{platform.system()} {platform.machine()}",
        "machine": machine(),
        "python": platform.python_version(),
        **_code(),
    }


def machine() -> str:
    """Tells this machine from others without naming it: times are only compared within one."""
    return hash_key([platform.node(), os.cpu_count()])


@cache
def _code() -> dict[str, Any]:
    packages = ("mia_bench", "torch", "diffusers", "transformers", "lightning", "numpy", "xgboost")
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return {"versions": versions, **_git()}


def _git() -> dict[str, Any]:
    here = Path(__file__).parent

    def ask(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")) != here.parent:
            return {"git_commit": None}
        return {
            "git_commit": ask("rev-parse", "HEAD"),
            "git_dirty": bool(ask("status", "--porcelain")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None}
