"""The worker process: what it is told in one line, and how it reports an error."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def report_of(order: dict[str, Any]) -> dict[str, Any]:
    """What a worker writes before it ends; it is not told to end meanwhile."""
    command = [sys.executable, "-m", "mia_bench.execution.worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps({"command": ["mia-bench"], **order}) + "\n")
        worker.stdin.flush()
        text = worker.stdout.read()
        worker.stdin.close()
    return json.loads(text) if text else {}


def test_a_mistake_is_reported_as_a_person_reads_it(small, tmp_path):
    config = small("attack=loss", outputs=tmp_path).resolved
    config["eval"]["access"] = "none"
    report = report_of({"config": config, "stage": "train", "kinds": ["shadow"]})
    assert report["explained"]
    assert report["error"].startswith("eval.access=none.")
    assert "Traceback" not in report["error"]
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_bug_is_reported_with_its_traceback(small, tmp_path):
    config = small("attack=loss", outputs=tmp_path).resolved
    report = report_of({"config": config, "stage": "no stage", "kinds": ["shadow"]})
    assert not report["explained"]
    assert report["error"].startswith("Traceback")
    assert "KeyError: 'no stage'" in report["error"]
