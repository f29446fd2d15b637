"""Folders that are complete or absent: built, resumed, sealed, checked."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mia_bench.storage.artifacts import (
    checked_manifest,
    get_or_build,
    get_or_build_on_all_ranks,
    is_complete,
    is_settled,
    seal,
)
from mia_bench.storage.hashing import hash_file
from mia_bench.storage.locks import holding
from mia_bench.utils.errors import MiaError

Build = Callable[[Path], dict[str, Any]]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_JOB_NAME")
    for name in ("RANK", "LOCAL_RANK", *slurm):
        monkeypatch.delenv(name, raising=False)


def counting(runs: list[Path]) -> Build:
    def build(tmp: Path) -> dict[str, Any]:
        runs.append(tmp)
        (tmp / "sub").mkdir(exist_ok=True)
        (tmp / "data.txt").write_text("data")
        (tmp / "sub" / "more.txt").write_text("more")
        return {"rows": 3}

    return build


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_is_built_once(tmp_path: Path) -> None:
    runs: list[Path] = []
    folder = tmp_path / "deep" / "down" / "key"
    first = get_or_build(folder, counting(runs))
    assert is_complete(folder)
    assert get_or_build(folder, counting(runs)) == first
    assert len(runs) == 1
    assert runs[0] != folder
    assert not runs[0].exists()
    assert first["rows"] == 3
    assert first["wall_seconds"] >= 0
    assert set(first["files"]) == {"data.txt", "sub/more.txt"}
    assert first["files"]["data.txt"] == hash_file(folder / "data.txt")
    assert {"created", "command", "platform", "python", "versions", "git_commit"} <= first.keys()


def test_an_interrupted_build_continues_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "key"

    def broken(tmp: Path) -> dict[str, Any]:
        (tmp / "shard0").write_text("half of the work")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_or_build(folder, broken)
    assert not folder.exists()
    assert not is_complete(folder)
    assert (tmp_path / "key.tmp" / "shard0").read_text() == "half of the work"

    def resumed(tmp: Path) -> dict[str, Any]:
        assert (tmp / "shard0").is_file()
        (tmp / "shard1").write_text("the other half")
        return {}

    manifest = get_or_build(folder, resumed)
    assert set(manifest["files"]) == {"shard0", "shard1"}
    assert not (tmp_path / "key.tmp").exists()


def test_an_error_of_the_build_is_passed_on(tmp_path: Path) -> None:
    def broken(_: Path) -> dict[str, Any]:
        raise FileNotFoundError(errno.ENOENT, "no such picture")

    with pytest.raises(FileNotFoundError, match="no such picture"):
        get_or_build(tmp_path / "key", broken)


def test_a_folder_without_a_manifest_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "stray").write_text("left by an older version")
    get_or_build(folder, counting([]))
    assert not (folder / "stray").exists()


def test_two_processes_build_once(tmp_path: Path) -> None:
    """Both start before either is done; the second finds what the first made."""
    script = """
import sys, time
from pathlib import Path
from mia_bench.storage.artifacts import get_or_build

here, me = Path(sys.argv[1]), sys.argv[2]

def build(tmp):
    (here / f"built-by-{me}").touch()
    time.sleep(0.5)
    (tmp / "data").write_text(me)
    return {"by": me}

(here / f"ready-{me}").touch()
while len(list(here.glob("ready-*"))) < 2:
    time.sleep(0.01)
print(get_or_build(here / "key", build)["by"])
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    running = [
        subprocess.Popen([*command, me], stdout=subprocess.PIPE, text=True) for me in ("1", "2")
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    (built,) = tmp_path.glob("built-by-*")
    winner = built.name.removeprefix("built-by-")
    assert said == [winner, winner]
    assert (tmp_path / "key" / "data").read_text() == winner


@pytest.mark.parametrize("name", ["data.txt", "sub/more.txt"])
def test_a_changed_or_missing_file_is_noticed(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "key"
    get_or_build(folder, counting([]))
    (folder / name).write_text("edited")
    with pytest.raises(MiaError, match=f"{name} changed since it was written. Delete .*key"):
        get_or_build(folder, counting([]))
    (folder / name).unlink()
    with pytest.raises(MiaError, match=f"{name} is missing since it was written"):
        checked_manifest(folder)


def test_files_added_later_are_nobodys_business(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    expected = get_or_build(folder, counting([]))
    (folder / "notes.txt").write_text("mine")
    assert checked_manifest(folder) == expected


def test_the_manifest_does_not_list_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    for _ in range(2):
        seal(tmp_path, {"n": 1})
        manifest = checked_manifest(tmp_path)
        assert list(manifest["files"]) == ["a"]
        assert manifest["n"] == 1


def test_a_place_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    """Below a regular file nothing can be made, whoever asks."""
    (tmp_path / "outputs").write_text("a file")
    with pytest.raises(
        MiaError, match=r"cannot write .*point paths\.outputs, or whatever names it, at a"
    ):
        get_or_build(tmp_path / "outputs" / "targets" / "key", counting([]))


def test_a_full_disk_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    def build(_: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MiaError, match=r"No space left on device.*Free some space"):
        get_or_build(tmp_path / "key", build)


# --- kills, damage, company ----------------------------------------------------------------------


def test_a_build_killed_after_its_seal_is_published_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between seal and rename; what resuming needed is gone either way."""
    folder, runs = tmp_path / "key", []

    def build(tmp: Path) -> dict[str, Any]:
        (tmp / "shards").mkdir(exist_ok=True)
        (tmp / "shards" / "0").write_text("part")
        (tmp / "last.ckpt").write_text("where to resume")
        return counting(runs)(tmp)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mia_bench.storage.artifacts._publish", killed)
        with pytest.raises(KeyboardInterrupt):
            get_or_build(folder, build, discard=("shards", "last.ckpt"))
    assert not is_complete(folder)
    manifest = get_or_build(folder, build, discard=("shards", "last.ckpt"))
    assert len(runs) == 1
    assert set(manifest["files"]) == {"data.txt", "sub/more.txt"}
    assert {p.name for p in folder.iterdir()} == {"manifest.json", "data.txt", "sub"}


def test_a_sealed_build_that_changed_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, runs = tmp_path / "key", []
    with monkeypatch.context() as patch:
        patch.setattr("mia_bench.storage.artifacts.os.replace", lambda a, b: Path(a).rename(b))
        patch.setattr("mia_bench.storage.artifacts._publish", lambda *_: None)
        with pytest.raises(MiaError, match="cannot read"):
            get_or_build(folder, counting(runs))
    (tmp_path / "key.tmp" / "data.txt").write_text("edited")
    assert not is_settled(folder)
    get_or_build(folder, counting(runs))
    assert len(runs) == 2
    assert (folder / "data.txt").read_text() == "data"


def test_parts_of_a_killed_build_are_not_sealed(tmp_path: Path) -> None:
    tmp = tmp_path / "key.tmp"
    (tmp / "steps" / "3.part").mkdir(parents=True)
    (tmp / "steps" / "3.part" / "weights").write_text("half")
    (tmp / "metrics.json.77.part").write_text("{")
    manifest = get_or_build(tmp_path / "key", counting([]))
    assert set(manifest["files"]) == {"data.txt", "sub/more.txt"}
    assert not list((tmp_path / "key").rglob("*.part"))


@pytest.mark.parametrize("old", ['"rows"', "3", '"files"', "data.txt", '"created"'])
def test_a_manifest_vouches_for_itself(tmp_path: Path, old: str) -> None:
    folder = tmp_path / "key"
    get_or_build(folder, counting([]))
    text = (folder / "manifest.json").read_text()
    other = old[:-1] + ("4" if old == "3" else "x")
    (folder / "manifest.json").write_text(text.replace(old, other.replace("x", 'x"'), 1))
    if old in ("3", "data.txt"):
        (folder / "manifest.json").write_text(text.replace(old, other, 1))
    with pytest.raises(MiaError, match=r"manifest\.json"):
        checked_manifest(folder)


def test_only_what_is_reused_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    get_or_build(folder, counting([]))
    (folder / "data.txt").write_text("edited")
    assert checked_manifest(folder, under=folder / "sub")["rows"] == 3
    (folder / "sub" / "more.txt").write_text("edited")
    with pytest.raises(MiaError, match=r"more\.txt changed"):
        checked_manifest(folder, under=folder / "sub")


def test_a_rank_whose_parent_ended_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("mia_bench.storage.artifacts.PARENT_PID", -1)
    with pytest.raises(MiaError, match=r"rank 0 ended before it finished .*run the same command"):
        get_or_build(tmp_path / "key", counting([]))


# --- ranks ---------------------------------------------------------------------------------------


def test_other_ranks_take_no_lock_and_seal_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 holds the lock while all of them build; here it is done by the time rank 1 is."""
    folder, runs = tmp_path / "key", []
    monkeypatch.setenv("RANK", "1")

    def build(tmp: Path) -> dict[str, Any]:
        runs.append(tmp)
        monkeypatch.delenv("RANK")
        get_or_build(folder, counting([]))
        return {"rows": 99}

    assert get_or_build_on_all_ranks(folder, build)["rows"] == 3
    assert runs == [tmp_path / "key.tmp"]


def test_a_run_of_several_processes_does_not_wait_for_another(tmp_path, monkeypatch):
    """Its other ranks would train or ask meanwhile; they themselves take no lock."""
    folder, runs = tmp_path / "key", []
    monkeypatch.setattr("mia_bench.storage.locks.LOCK_NOTICE_SECONDS", 0.0)
    with FileLock(tmp_path / "key.lock"), pytest.raises(MiaError, match=r"another run .* on key"):
        get_or_build_on_all_ranks(folder, counting(runs))
    assert not runs
    with FileLock(tmp_path / "key.asking.lock"):
        with pytest.raises(MiaError, match="Start this one again"), holding([folder], True):
            pass
        monkeypatch.setenv("RANK", "1")
        with holding([folder], distributed=True):
            pass


def test_a_run_of_several_processes_does_not_go_on_from_what_another_just_finished(
    tmp_path, monkeypatch
):
    """Its other ranks may have planned before or after that."""
    folder, runs = tmp_path / "key", []
    get_or_build(folder, counting([]))
    states = iter([False])
    monkeypatch.setattr(
        "mia_bench.storage.artifacts.is_complete",
        lambda path: next(states, (path / "manifest.json").is_file()),
    )
    with pytest.raises(MiaError, match="key was finished by another run"):
        get_or_build_on_all_ranks(folder, counting(runs))
    assert not runs


# --- yaml ----------------------------------------------------------------------------------------
