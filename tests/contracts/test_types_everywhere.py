"""`make types` says the same whatever optional packages an environment holds."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OWN = {"mia_bench", "hydra_plugins"}
DISTRIBUTIONS = packages_distributions()


def imported_modules() -> set[str]:
    """Top-level names of every import in the package that is neither ours nor Python's."""
    names: set[str] = set()
    for path in (ROOT / "mia_bench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - OWN - set(sys.stdlib_module_names)


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def installed_with_dev() -> set[str]:
    requirements = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
    ]
    return {normal(re.split(r"[\s<>=!~;\[]", text, maxsplit=1)[0]) for text in requirements}


def is_exempt(module: str) -> bool:
    patterns = [p for part in PROJECT["tool"]["mypy"]["overrides"] for p in part["module"]]
    return any(fnmatch(f"{module}.x", pattern) for pattern in patterns)


@pytest.mark.parametrize("module", sorted(imported_modules()))
def test_every_import_is_installed_by_dev_or_exempt_from_type_checks(module):
    distributions = {normal(name) for name in DISTRIBUTIONS.get(module, [])}
    assert is_exempt(module) or distributions & installed_with_dev(), (
        f"{module} comes with none of pyproject's dependencies or its extra dev: "
        "mypy fails where it is absent; add it to dev or to tool.mypy.overrides"
    )
