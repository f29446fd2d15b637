"""The house: layers, no circles, few modules a folder, tests that mirror the tree."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from longest_files import LONGEST_FIRST
from quick_tests import FILES_WITHOUT_QUICK_TESTS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mia_bench"
MAX_MODULES = 13  # in a folder; a stranger reads no longer list
COMMANDS = frozenset(path.stem for path in PACKAGE.glob("*.py")) - {"__init__", "__main__"}
ACROSS = frozenset(("contracts", "faults", "security", "helpers", "tools"))
"""Folders of tests that belong to no one package."""
LONG_AS_A_WHOLE = {
    *("contracts/test_real_size.py", "faults/test_bad_input.py", "faults/test_disk.py"),
    *("faults/test_kills.py", "faults/test_network.py", "faults/test_numbers.py"),
    *("faults/test_ranks.py", "security/test_fuzz.py", "sweep/test_sweeper_engines.py"),
}
"""Below tests/: whole runs that something befalls, models of the real size, engines few have."""


def modules(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("__")]


def packages() -> list[Path]:
    return sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


def test_a_part_imports_only_from_parts_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The contracts of pyproject.toml: layers, and no circles, type-only imports included."""
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename="pyproject.toml", cache_dir=None)
    printed = capsys.readouterr().out
    assert status == EXIT_STATUS_SUCCESS, printed
    assert "Contracts: 2 kept, 0 broken." in printed


@pytest.mark.parametrize("folder", packages(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_folder_holds_few_modules(folder: Path) -> None:
    """A command of its own, `__main__.py`, is one of them; the words about the folder are none."""
    assert len([path for path in folder.glob("*.py") if path.stem != "__init__"]) <= MAX_MODULES


def test_a_file_in_the_root_is_a_command() -> None:
    """It can be started, and its docstring begins with how."""
    for name in COMMANDS:
        tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
        assert "__main__" in ast.unparse(tree.body[-1]), f"{name}.py starts nothing"
        assert f"python -m mia_bench.{name}" in (ast.get_docstring(tree) or ""), name


def test_no_two_classes_have_one_name() -> None:
    """Nobody who reads `Rows` should have to ask whose."""
    names = Counter(
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def mirrored(test: Path) -> Path | None:
    """The module that tests/<package>/test_<module>[_<aspect>].py is about."""
    folder = PACKAGE / test.parent.relative_to(ROOT / "tests")
    subject = test.stem.removeprefix("test_")
    fitting = [p for p in folder.glob("*.py") if f"{subject}_".startswith(f"{p.stem.strip('_')}_")]
    return max(fitting, key=lambda path: len(path.stem), default=None)


def test_every_test_file_is_named_after_a_module() -> None:
    tests = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.relative_to(ROOT / "tests").parts[0] not in ACROSS
    ]
    assert [str(path.relative_to(ROOT)) for path in tests if mirrored(path) is None] == []


def test_files_that_begin_first_are_there() -> None:
    assert [name for name in LONGEST_FIRST if not (ROOT / "tests" / name).is_file()] == []
    assert len(set(LONGEST_FIRST)) == len(LONGEST_FIRST)


def test_every_file_has_a_test_that_make_test_runs(request: pytest.FixtureRequest) -> None:
    """Of the files that were collected with this one: in a run of the whole suite, of all."""
    long = request.config.stash[FILES_WITHOUT_QUICK_TESTS]
    names = {path.relative_to(ROOT / "tests").as_posix() for path in long}
    assert names - LONG_AS_A_WHOLE == set()
    assert all((ROOT / "tests" / name).is_file() for name in LONG_AS_A_WHOLE)


def test_every_module_has_a_test_file_of_its_name() -> None:
    tested = {mirrored(path) for path in (ROOT / "tests").rglob("test_*.py")}
    every = [path for folder in (PACKAGE, *packages()) for path in modules(folder)]
    untested = [str(path.relative_to(ROOT)) for path in every if path not in tested]
    assert untested == []
