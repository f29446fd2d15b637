"""Disks that are full or read-only: one clear message, and the same results once there is room."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jobs import RUN, assert_same, complete, refused, results

from mia_bench.config.error_messages import explain

MEGABYTE = 1 << 20


@dataclass
class Disk:
    """A folder with a limit. Where mounting is not allowed, no single file may pass the limit."""

    folder: Path
    mounted: bool

    def resize(self, size: int) -> None:
        if self.mounted:
            subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)
        else:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    def lift(self) -> None:
        if self.mounted:
            subprocess.run(["mount", "-o", "remount,size=1g", self.folder], check=True)
        else:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request, tmp_path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1g", "faults", str(folder)]
    mounted = request.param == "tmpfs" and not subprocess.run(mount, capture_output=True).returncode
    found = Disk(folder, mounted)
    try:
        yield found
    finally:
        found.lift()
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)


def fails(run: Callable[[], None], advice: str) -> str:
    """The message for a run that cannot write; anything that is not explained is a bug."""
    with pytest.raises(Exception) as error:  # noqa: PT011 - what is raised where is not the point
        run()
    said = explain(error.value)
    assert said is not None, error.getrepr()
    assert "cannot write" in said
    assert f"{advice}point paths.outputs, or whatever names it, at a folder" in said
    return said


def used(folder: Path) -> int:
    """Bytes in blocks, as a file system counts them."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@pytest.mark.long
@pytest.mark.parametrize("stage", ["checkpoint", "weights", "shards", "scores"])
def test_what_a_full_disk_stopped_goes_on_when_there_is_room(disk, whole, again, stage):
    """Room for the first parts of the run alone; a limit of each file's size where no mount is."""
    outputs = disk.folder / "outputs"
    kept = {"checkpoint": 0, "weights": 0, "shards": 3, "scores": 4}[stage]
    for part in ("splits", "cache", "targets", "features")[:kept]:
        shutil.copytree(whole / part, outputs / part)
    room = {"checkpoint": 20 * MEGABYTE, "weights": 5 * MEGABYTE, "shards": 12288, "scores": 4096}
    disk.resize(room[stage] + (used(disk.folder) if disk.mounted else 0))
    rare = ["finetune.checkpoint_every=100"] if stage == "weights" else []
    fails(lambda: again(outputs, *rare), "Free some space or ")
    disk.lift()
    if stage in ("shards", "scores"):
        again(outputs)
        assert_same(results(whole), results(outputs))
        assert not list(outputs.rglob("*.part"))


@pytest.mark.slow
def test_a_disk_that_grows_megabyte_by_megabyte(tmp_path, whole):
    """One run, stopped wherever the disk happens to be full, over and over."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "faults", str(folder)], check=True)
    disk, stopped = Disk(folder, True), 0
    try:
        for size in (1, 2, 4, 8, 16, 24, 32, 40, 44, 48):
            disk.resize(size * MEGABYTE)
            said = refused(folder / "outputs", *RUN)
            assert "cannot write" in said, said
            stopped += 1
        disk.lift()
        complete(folder / "outputs", *RUN)
        assert_same(results(whole), results(folder / "outputs"))
        print(f"{stopped} times a full disk: identical")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.long
def test_outputs_that_became_read_only(disk, whole, again):
    """Root may write anywhere but to a read-only file system, or below a file."""
    outputs = Path(shutil.copytree(whole, disk.folder / "outputs"))
    if disk.mounted:
        subprocess.run(["mount", "-o", "remount,ro", disk.folder], check=True)
    else:
        shutil.rmtree(outputs / "reports")
        (outputs / "reports").touch()
    said = fails(lambda: again(outputs), "Correct the place: ")
    assert str(outputs) in said
