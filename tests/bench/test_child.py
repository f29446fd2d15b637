"""Measurements in a process of their own come back as numbers."""

from __future__ import annotations

import json
import subprocess

import pytest

from mia_bench.bench import child
from mia_bench.bench.timing import run_child


def test_a_child_process_prints_its_measurement():
    measured = run_child("metrics", "60")
    assert measured.keys() == {"seconds", "bytes_per_row"}
    assert measured["seconds"] > 0


def test_a_measurement_without_a_folder_uses_a_temporary_one(capsys):
    child.main("predict_pass", "2", "loss")
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (measured["rows"], measured["extracted"]) == (2, 2)


def test_an_unknown_measurement_fails():
    with pytest.raises(subprocess.CalledProcessError):
        run_child("no_such_measurement")
