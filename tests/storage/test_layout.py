"""Names are joined and taken apart by one pair of functions, whatever an attack is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from mia_bench.storage import layout


@pytest.mark.parametrize(
    ("folder", "name", "key"),
    [
        ("clid-0123456789abcdef", "clid", "0123456789abcdef"),
        ("clid-base-0123456789abcdef", "clid-base", "0123456789abcdef"),
        ("clid-0123456789abcdef.tmp", "clid", "0123456789abcdef"),
        ("clid", "clid", ""),
        ("-0123", "-0123", ""),
        ("clid-", "clid-", ""),
    ],
)
def test_names_are_taken_apart_as_they_were_joined(folder: str, name: str, key: str) -> None:
    assert layout.split_name(folder) == (name, key)
    assert layout.join_name(name, key) == folder.removesuffix(".tmp")


def test_a_folder_that_is_built_and_its_locks_lie_beside_it() -> None:
    folder = Path("outputs/runs/m/300/clid-1")
    building = layout.build_folder(folder)
    assert building == Path("outputs/runs/m/300/clid-1.tmp")
    assert layout.is_being_built(building)
    assert not layout.is_being_built(folder)
    assert layout.finished_folder(building) == layout.finished_folder(folder) == folder
    assert layout.lock_file(folder).name == "clid-1.lock"
    assert layout.extraction_lock_file(folder).name == "clid-1.asking.lock"


def test_where_a_folder_lies_says_its_model_its_step_and_its_outputs() -> None:
    folder = layout.run_folder(Path("outputs"), "m", "300", "clid-1")
    assert layout.model_and_step(folder) == ("m", "300")
    assert layout.outputs_of_run(folder) == Path("outputs")
    assert layout.outputs_of_run(Path("outputs/features/m/300/clid-1")) is None
    assert layout.outputs_of_run(Path("clid-1")) is None
    assert (layout.step_number("300"), layout.step_number("base")) == (300, 0)


def test_the_step_of_a_model_that_was_not_trained_here_is_as_given() -> None:
    assert layout.step_words("base") == "as given"
    assert layout.step_words("300") == "300"


@pytest.mark.parametrize("step", ["²", "٣", "base", "", "-1"])
def test_a_folder_whose_name_is_no_number_is_no_step(step: str) -> None:
    assert not layout.is_step_number(step)
    assert layout.step_number(step) == 0
