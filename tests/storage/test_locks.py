"""Two processes never work on the same artefact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from mia_bench.storage.locks import holding, locked


def test_who_waits_for_another_process_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "abc.lock"
    script = """
import sys, time
from filelock import FileLock

with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(0.5)
"""
    holder = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    monkeypatch.setattr("mia_bench.storage.locks.LOCK_NOTICE_SECONDS", 0.05)
    with locked(path):
        assert "waiting for another process that is at work on abc" in capsys.readouterr().err
    holder.communicate()
    with locked(path):
        assert capsys.readouterr().err == ""


def test_tables_are_asked_for_by_one_process_at_a_time(tmp_path):
    folders = [tmp_path / "m" / name for name in ("b", "a")]
    with holding(folders):
        for folder in folders:
            lock = FileLock(folder.with_name(f"{folder.name}.asking.lock"))
            with pytest.raises(Timeout):
                lock.acquire(timeout=0)
    with holding(folders[:1]), holding(folders[1:]):
        pass
