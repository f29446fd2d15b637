"""Random pipelines of every family, saved once a session, and the module that makes them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def pipelines() -> ModuleType:
    """The module pipelines.py, which no package leads to."""
    spec = spec_from_file_location("pipelines", Path(__file__).parents[1] / "helpers/pipelines.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
