"""A real small run, and copies of its outputs to tamper with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mia_bench.execution.run import execute

ATTACKS = ("attack=[loss,clid]", "eval.ensemble=true", "eval.base_calibrated=true")


@pytest.fixture(scope="session")
def finished(small, trained, once, tmp_path_factory) -> Path:
    """Outputs of a real small run: loss, loss-base, clid, clid-base and their ensemble."""

    def make(outputs: Path) -> None:
        execute(small(*ATTACKS, outputs=trained(outputs)))

    copy = tmp_path_factory.mktemp("finished") / "outputs"
    return Path(shutil.copytree(once("finished", make), copy))


@pytest.fixture
def outputs(finished: Path, tmp_path: Path) -> Path:
    """A copy to tamper with; weights and latents are links, replaced before they are changed."""
    copy = tmp_path / "outputs"
    for part in ("runs", "features", "splits", "controls"):
        shutil.copytree(finished / part, copy / part)
    shutil.copytree(finished / "targets", copy / "targets", copy_function=os.link)
    return copy
