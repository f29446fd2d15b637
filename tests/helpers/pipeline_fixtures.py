"""Random pipelines of every family, saved once a session, and the module that makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pipelines as pipelines_module
import pytest


@pytest.fixture(scope="session")
def pipelines() -> ModuleType:
    """The module pipelines.py of these helpers."""
    return pipelines_module


@pytest.fixture(scope="session")
def narrow(pipelines, tmp_path_factory) -> Callable[[str], Path]:
    """narrow("sd1" | "sd2" | "sdxl"): a folder with a random pipeline, not to be written to."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            path = tmp_path_factory.mktemp("pipelines") / family
            made[family] = pipelines.save_pipeline(path, family)
        return made[family]

    return folder
