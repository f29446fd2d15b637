"""Files that are written whole or not at all, and read without trust."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mia_bench.storage.files import (
    read_json,
    regular_file,
    unwritable,
    write_advice,
    write_json,
)
from mia_bench.storage.hashing import hash_file
from mia_bench.utils.errors import MiaError


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {"deep": [float("-inf")]}, object()])
def test_a_value_json_cannot_hold_leaves_the_old_file(bad: Any, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"auroc": 0.5})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"auroc": bad})
    assert read_json(path) == {"auroc": 0.5}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_json_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"auroc": 0.5})
    seen: list[Any] = []

    def replace(source: Path, to: Path) -> None:
        seen.append((json.loads(Path(source).read_text()), json.loads(Path(to).read_text())))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mia_bench.storage.artifacts.os.replace", replace)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"auroc": 0.7})
    assert seen == [({"auroc": 0.7}, {"auroc": 0.5})]
    assert read_json(path) == {"auroc": 0.5}


def test_json_keeps_its_text_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"name": "grün 🐢", "n": [1, 2]})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "grün 🐢" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("content", ["", "{", '{"a": 1', None])
def test_unreadable_json_says_what_to_do(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MiaError, match=r"cannot read .*Delete its folder and run again"):
        read_json(path)


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """Each has a part of its own: neither finds it renamed under its hands."""
    script = """
import sys
from pathlib import Path
from mia_bench.storage.files import write_json

for i in range(300):
    write_json(Path(sys.argv[1]), {"n": i})
"""
    command = [sys.executable, "-c", script, str(tmp_path / "x.json")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=60)[1] for process in running] == [b"", b""]
    assert read_json(tmp_path / "x.json") == {"n": 299}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/x"), "Read-only"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "No space left"),
        (OSError(errno.ENOENT, "No such file"), None),
        (ValueError("a bug"), None),
    ],
)
def test_errors_of_a_disk_are_known_in_any_wrapping(error: Exception, said: str | None) -> None:
    wrapped = RuntimeError("the writer failed")
    wrapped.__cause__ = error
    found = unwritable(error)
    assert (found is None) == (said is None)
    assert said is None or said in str(found)
    assert (unwritable(wrapped) is not None) == (said == "No space left")


@pytest.mark.parametrize("text", ["[1]", "1", "[" * 100_000, "{", "\xff"])
def test_stored_json_is_an_object(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(MiaError, match="cannot read"):
        read_json(path)


def test_only_a_full_disk_needs_space() -> None:
    assert write_advice("[Errno 28] No space left on device: 'x'").startswith("Free some space or ")
    assert write_advice("[Errno 20] Not a directory: '/dev/null/x'").startswith("Correct the place")


def test_reading_a_pipe_a_device_or_a_folder_never_begins(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="it is no regular file"):
            hash_file(path)
    with pytest.raises(MiaError, match="it is no regular file"):
        read_json(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        regular_file(tmp_path)


def test_parts_that_a_kill_left_go_a_day_later_and_those_of_others_stay(tmp_path):
    names = ("a.json.0123.part", "a.json.4567.part", "b.json.0123.part")
    old, young, other = (tmp_path / name for name in names)
    for path in (old, young, other):
        path.write_text("{")
    for path in (old, other):
        os.utime(path, (0, 0))
    write_json(tmp_path / "a.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", young.name, other.name}
