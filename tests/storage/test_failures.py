"""Failures are kept until the run succeeds, and never hide the error itself."""

from __future__ import annotations

import pytest

from mia_bench.execution.run import failure_of
from mia_bench.storage.failures import find_failures, forget_failures, read_failure, record_failure
from mia_bench.utils.errors import MiaError

CELLS = ["runs/t/1/pia-0"]


def failing():
    try:
        raise MiaError("too few rows\nuse more")
    except MiaError as error:
        return failure_of(error, CELLS, ["attack=pia"])


def test_kept_found_and_forgotten(tmp_path):
    failure = failing()
    path = record_failure(tmp_path, failure)
    assert read_failure(path) == find_failures(tmp_path, CELLS) == failure
    assert failure.first_line == "too few rows"
    assert "in failing" in failure.traceback
    record_failure(tmp_path, failure)
    assert len(list(path.parent.iterdir())) == 1
    forget_failures(tmp_path, CELLS)
    assert find_failures(tmp_path, CELLS) is None
    forget_failures(tmp_path, CELLS)


def test_an_error_that_is_a_bug_has_its_type():
    assert failure_of(KeyError("x"), CELLS, []).error == "KeyError: 'x'"


def test_a_folder_that_cannot_be_written_is_said_and_survived(tmp_path, capsys):
    (tmp_path / "failures").write_text("in the way")
    assert record_failure(tmp_path, failing()) is None
    forget_failures(tmp_path, CELLS)
    said = capsys.readouterr().err
    assert "could not be recorded" in said


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"error": "x", "cells": [], "overrides": []}'])
def test_a_record_that_was_cut_short_is_named(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(MiaError, match="unreadable: "):
        read_failure(path)
