"""One walk over outputs/: every run, finished or not, and where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mia_bench.storage.index import (
    RunRef,
    find_runs,
    finished_runs,
    model_folders,
    run_at,
    runs,
    sample_sheets,
    utility_folders,
)
from mia_bench.storage.inventory import run_summaries
from mia_bench.utils.errors import MiaError


def made(outputs: Path, place: str, finished: bool = True) -> Path:
    folder = outputs / place
    folder.mkdir(parents=True)
    if finished:
        (folder / "manifest.json").write_text("{}")
    return folder


def test_a_reference_says_where_a_run_lies() -> None:
    ref = RunRef(Path("outputs"), "m", "300", "clid-base", "0123")
    assert ref.name == "clid-base-0123"
    assert ref.folder == Path("outputs/runs/m/300/clid-base-0123")
    assert ref.place == "runs/m/300/clid-base-0123"
    assert run_at(ref.folder) == ref
    building = RunRef(Path("outputs"), "m", "300", "clid", "0", is_building=True)
    assert building.folder == Path("outputs/runs/m/300/clid-0.tmp")
    assert run_at(building.folder) == building
    with pytest.raises(MiaError, match="is not a run's folder"):
        run_at(Path("outputs/features/m/300/clid-0"))


def test_every_run_is_found_once_and_says_what_stands_in_the_way(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    made(outputs, "runs/m/300/clid-1")
    made(outputs, "runs/m/300/clid-1.tmp", finished=False)  # finished meanwhile
    made(outputs, "runs/m/300/loss-2.tmp", finished=False)
    made(outputs, "runs/m/base/pia-3", finished=False)
    made(tmp_path, "elsewhere/runs/m/300/gsa-4")
    link = outputs / "runs/m/300/gsa-4"
    link.symlink_to(tmp_path / "elsewhere/runs/m/300/gsa-4")
    (outputs / "runs/m/300/same-5").symlink_to(outputs / "runs/m/300/clid-1")
    (outputs / "runs/m/300/clid-1.lock").touch()
    obstacles = {ref.place.removeprefix("runs/m/"): ref.obstacle for ref in runs(outputs)}
    assert list(obstacles) == [
        "300/clid-1",
        "300/gsa-4",
        "300/loss-2.tmp",
        "300/same-5",
        "base/pia-3",
    ]
    assert obstacles["300/clid-1"] is None
    assert obstacles["300/same-5"] is None  # a link that stays inside
    assert "unfinished: it was interrupted" in str(obstacles["300/loss-2.tmp"])
    assert "unfinished: it has no manifest.json" in str(obstacles["base/pia-3"])
    assert "it is a link that leads out of" in str(obstacles["300/gsa-4"])
    assert [ref.name for ref in finished_runs(outputs)] == ["clid-1", "same-5"]
    assert finished_runs(outputs, "n") == []
    problems = {run.ref.attack: run.problem for run in run_summaries(outputs)}
    assert set(problems) == {"clid", "gsa", "pia", "same"}
    assert "leads out" in problems["gsa"]


def test_a_linked_step_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    made(tmp_path, "elsewhere/300/clid-1")
    (tmp_path / "outputs/runs").mkdir(parents=True)
    (tmp_path / "outputs/runs/m").symlink_to(tmp_path / "elsewhere")
    [ref] = runs(tmp_path / "outputs")
    assert "leads out of" in str(ref.obstacle)


def test_outputs_may_be_a_link_itself(tmp_path: Path) -> None:
    made(tmp_path, "disk/runs/m/300/clid-1")
    (tmp_path / "outputs").symlink_to(tmp_path / "disk")
    assert [ref.obstacle for ref in runs(tmp_path / "outputs")] == [None]


def test_siblings_are_runs_of_the_same_model_and_step() -> None:
    ref = RunRef(Path("outputs"), "m", "300", "ensemble", "0")
    assert ref.sibling("clid-1").place == "runs/m/300/clid-1"
    for name in ("../clid-1", "clid", "/etc/a-b", ""):
        with pytest.raises(MiaError, match="is not the name of a run"):
            ref.sibling(name)


def test_runs_are_found_by_the_first_digits_of_their_key(tmp_path: Path) -> None:
    made(tmp_path, "runs/m/300/clid-0123456789abcdef")
    [ref] = find_runs("012345", tmp_path)
    assert ref.attack == "clid"
    assert find_runs("clid-012345", tmp_path) == [ref]
    for word in ("clid-01234", "loss-012345", "clid-112345"):
        with pytest.raises(MiaError, match=f"is called {word}: "):
            find_runs(word, tmp_path)
    with pytest.raises(MiaError, match="is called 01234: give a folder"):
        find_runs("01234", tmp_path)


def test_digits_that_begin_several_keys_are_refused_with_what_they_may_mean(tmp_path: Path) -> None:
    made(tmp_path, "runs/m/300/clid-0123456789abcdef")
    made(tmp_path, "runs/m/300/loss-0123457777777777")
    with pytest.raises(MiaError, match="012345 is how 2 keys begin") as refused:
        find_runs("012345", tmp_path)
    assert "clid-0123456789abcdef, loss-0123457777777777" in str(refused.value)
    assert [ref.attack for ref in find_runs("0123457", tmp_path)] == ["loss"]
    assert [ref.attack for ref in find_runs("loss-012345", tmp_path)] == ["loss"]


def test_the_rest_is_found_where_it_lies(tmp_path: Path) -> None:
    made(tmp_path, "targets/a")
    made(tmp_path, "targets/b.tmp")
    assert [folder.name for folder in model_folders(tmp_path)] == ["a"]
    for name in ("k1", "k2.tmp"):
        folder = made(tmp_path, f"utility/a/300/{name}")
        (folder / "utility.json").write_text(json.dumps({}))
        (folder / "samples.png").touch()
    assert [folder.name for folder in utility_folders(tmp_path, "a", "300")] == ["k1"]
    assert len(sample_sheets(tmp_path, "a")) == 1
    assert runs(tmp_path / "none") == model_folders(tmp_path / "none") == []


def test_a_lock_file_among_the_words_of_a_wildcard_names_no_run(tmp_path):
    folder = made(tmp_path, "runs/aaaa/300/clid-0123456789abcdef")
    lock = folder.with_name(f"{folder.name}.lock")
    lock.touch()
    assert find_runs(str(lock), tmp_path) == []
    assert [ref.name for ref in find_runs(str(folder), tmp_path)] == [folder.name]
