"""Random pipelines of every family, saved once a session, and the module that makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pipelines as pipelines_module
import pytest
from dit_pipelines import save_dit


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


@pytest.fixture(scope="session")
def saved_dit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """saved_dit(family): a folder with a random transformer pipeline, not to be written to."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = save_dit(tmp_path_factory.mktemp("dit") / family, family)
        return made[family]

    return folder
