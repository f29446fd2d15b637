"""One job to a GPU, with devices that are only names; processes really compete."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import pytest

from mia_bench.execution import gpu_slots
from mia_bench.execution.gpu_slots import choose, gpu_slot, hold_one, visible_devices
from mia_bench.utils.errors import MiaError

JOB = """
import sys, time
from pathlib import Path
from mia_bench.execution.gpu_slots import hold_one
folder = Path(sys.argv[1])
(folder / f"{sys.argv[2]}.started").touch()
with hold_one(["0", "1"], folder, wait=0.02) as device:
    (folder / f"{sys.argv[2]}.begin").write_text(device)
    while not (folder / "go").exists():
        time.sleep(0.02)
print(device)
"""


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")


def test_processes_take_different_devices_and_a_third_waits(tmp_path):
    script = textwrap.dedent(JOB)
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(3)
    ]
    began = lambda: list(tmp_path.glob("*.begin"))  # noqa: E731
    wait_for(lambda: len(began()) == 2)
    assert {path.read_text() for path in began()} == {"0", "1"}
    wait_for(lambda: len(list(tmp_path.glob("*.started"))) == 3)
    time.sleep(0.5)  # the third has tried by now
    assert len(began()) == 2
    (tmp_path / "go").touch()
    said = [job.communicate(timeout=30) for job in jobs]
    assert all(job.returncode == 0 for job in jobs)
    assert len(began()) == 3
    assert sum("waiting for one of 2" in err for _, err in said) == 1


def test_a_device_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), hold_one(["0"], tmp_path):
        raise RuntimeError
    with hold_one(["0"], tmp_path) as device:
        assert device == "0"


def test_a_process_keeps_to_the_gpu_that_cuda_has_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setattr(gpu_slots, "slot_folder", lambda: tmp_path)
    monkeypatch.setattr(gpu_slots, "_mine", [])
    with hold_one(["4"], tmp_path), gpu_slot(-1) as device:  # a job next door has the first one
        assert device == os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    for slots_asked in (-1, 2):  # one GPU is visible by now
        with gpu_slot(slots_asked) as device:
            assert device == "7"


def test_no_slots_changes_nothing(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    with gpu_slot(None) as device:
        assert device is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"


def test_devices_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 2, GPU-ab ,")
    assert visible_devices() == ["2", "GPU-ab"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_devices() == []


@pytest.mark.parametrize(("devices", "count"), [([], 1), (["0"], 2), (["0"], 0), (["0"], -2)])
def test_more_slots_than_gpus_are_refused(devices, count):
    with pytest.raises(MiaError, match="gpu_slots"):
        choose(devices, count)


def test_a_folder_of_somebody_else_is_not_written_to(tmp_path, monkeypatch):
    """Every user may make a folder of any name where temporary files lie, and links in it."""
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(MiaError, match="belongs to somebody else"), hold_one(["0"], tmp_path):
        pass
    assert not any(tmp_path.iterdir())
