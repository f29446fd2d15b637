"""JSON and YAML files that are written whole or not at all, and read without trust."""

from __future__ import annotations

import errno
import glob
import gzip
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mia_bench.utils.errors import MiaError, with_causes

MAX_YAML_BYTES = 1 << 20  # of a stored config.yaml; this package writes a few thousand
PIECE_BYTES = 1 << 20  # of a compressed file, unfolded at a time
PARTIAL_SUFFIX = ".part"  # ends the name of a file or folder that is still being written
STALE_SECONDS = 86_400.0  # after which such a file belongs to nobody who is still at work
NOT_WRITABLE_ERRNOS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EFBIG),
    *(errno.EDQUOT, errno.ENOTDIR, errno.EEXIST),
)
DISK_FULL_MESSAGES = ("No space left on device", "Disk quota exceeded", "File too large")


def regular_file(path: Path) -> Path:
    """`path`, after making sure that reading it comes to an end: a pipe or a device may never.

    Raises OSError where it is no file.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path


def require_unfolded(path: Path, most_bytes: int) -> None:
    """Raises MiaError where `path` is a .gz file that unfolds to more than `most_bytes`.

    It is unfolded piece by piece: a few kilobytes may hold as many gigabytes.
    """
    if path.suffix.lower() != ".gz":
        return
    unfolded = 0
    with gzip.open(regular_file(path)) as file:
        while piece := file.read(PIECE_BYTES):
            unfolded += len(piece)
            if unfolded > most_bytes:
                raise MiaError(f"{path} unfolds to more than {most_bytes:,} bytes: it is not read.")


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises MiaError when there is none."""
    try:
        value = json.loads(regular_file(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MiaError(f"cannot read {path}: {error}. Delete its folder and run again.") from error
    if not isinstance(value, dict):
        raise MiaError(f"cannot read {path}: it holds no object. Delete its folder and run again.")
    return value


def write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """As `parse_yaml` reads it."""
    from omegaconf import OmegaConf

    path.write_text(OmegaConf.to_yaml(OmegaConf.create(dict(value))), encoding="utf-8")


def parse_yaml(text: str) -> dict[str, Any]:
    """The mapping in `text`: plain values, no tags that make objects, no aliases.

    Aliases, which this package never writes, let a page of text unfold into gigabytes.

    Raises:
        ValueError: it is no such mapping.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a thousand of them are read
    try:
        # an alias begins with a star: most files have none, and need not be read twice
        if "*" in text and any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=loader)
        ):
            raise ValueError("it has aliases, which are not read")
        value = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not isinstance(value, dict):
        raise ValueError("it is no mapping")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` whole or not at all; NaN, which JSON does not have, is a ValueError."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    remove_stale_parts(path)


def remove_stale_parts(path: Path) -> None:
    """Remove what kills left of earlier attempts to write `path`: no build removes it where `path`
    lies in no folder of its own, as splits and records of failures do."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL_SUFFIX}"):
        with suppress(OSError):  # another process removed it, or it is not ours
            if time.time() - part.stat().st_mtime > STALE_SECONDS:
                part.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file to write to, which replaces `path` at the end, or is removed after an error."""
    unique = os.urandom(6).hex()  # containers that share a folder may have equal process ids
    partial = path.with_name(f"{path.name}.{unique}{PARTIAL_SUFFIX}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_path(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_advice(problem: str) -> str:
    """What to do about a file that could not be written for the reason that `unwritable` gave."""
    place = (
        "point paths.outputs, or whatever names it, at a folder you may write to; what is finished "
        "stays usable."
    )
    full = any(message in problem for message in DISK_FULL_MESSAGES)
    return f"Free some space or {place}" if full else f"Correct the place: {place}"


def unwritable(error: BaseException) -> str | None:
    """Why a file could not be written, when that is what went wrong, or None.

    Libraries wrap the system's error in types of their own and keep its message.
    """
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE_ERRNOS:
        return str(error)
    texts = map(str, with_causes(error))
    return next((m for text in texts for m in DISK_FULL_MESSAGES if m in text), None)
