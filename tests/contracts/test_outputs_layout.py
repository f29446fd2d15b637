"""storage/layout.py alone spells the names under outputs/, joins them and takes them apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from mia_bench.storage import layout

PACKAGE = Path(layout.__file__).parents[1]
PLUGINS = PACKAGE.parent / "hydra_plugins"
MODULES = sorted({*PACKAGE.rglob("*.py"), *PLUGINS.rglob("*.py")} - {Path(layout.__file__)})
NAMES = {name: value for name, value in vars(layout).items() if isinstance(value, str)}
FILES = frozenset(value for name, value in NAMES.items() if name.endswith("_FILE"))
FOLDERS = frozenset(value for name, value in NAMES.items() if name.endswith("_FOLDER"))
SHARED = frozenset(("index.json", "config.yaml"))
"""Also what others call a file: an index of safetensors, the root of conf/."""
ELSEWHERE = frozenset(
    (
        "mia_bench/config/compose.py",  # config.yaml of conf/
        "mia_bench/pretrain/loop.py",  # its own file, of the same ending while it is written
    )
)
JOINS = frozenset(("folder", "glob", "rglob", "joinpath", "with_name", "report_folder"))


def constants(tree: ast.AST) -> Iterator[str]:
    """Texts of a module that are no docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "" if id(node) in docstrings else node.value


def path_texts(tree: ast.AST) -> Iterator[str]:
    """Texts that are joined to a path: `x / "runs"`, `plan.folder("runs", ...)`, `f"runs/{x}"`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            joined = [node.left, node.right]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            joined = list(node.args) if node.func.attr in JOINS else []
        elif isinstance(node, ast.JoinedStr):
            texts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            yield from (str(text) for text in texts if "/" in str(text) and " " not in str(text))
            continue
        else:
            continue
        yield from (n.value for n in joined if isinstance(n, ast.Constant) and n.value is not None)


def place(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def spelled(path: Path) -> list[str]:
    """Names under outputs/ that a module spells by itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    whole = [text for text in constants(tree) if " " not in text]
    found = [part for text in whole for part in text.split("/") if part in FILES - SHARED]
    joined = [str(text) for text in path_texts(tree)]
    found += [part for text in joined for part in text.split("/") if part in FOLDERS]
    found += [part for text in joined for part in text.split("/") if part == layout.CONFIG_FILE]
    endings = (layout.BUILD_SUFFIX, layout.EXTRACTION_LOCK_SUFFIX)
    return found + [text for text in whole if text.endswith(endings)]


def test_no_module_spells_a_name_under_outputs() -> None:
    found = {place(path): spelled(path) for path in MODULES if place(path) not in ELSEWHERE}
    assert {where: names for where, names in found.items() if names} == {}


@pytest.mark.parametrize("text", ['rpartition("-")', "parent.parent.name", "parents[1].name"])
def test_no_module_takes_a_folder_of_a_run_apart(text: str) -> None:
    assert [place(path) for path in MODULES if text in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    "line",
    [
        'x = folder / "scores.parquet"',
        'x = plan.folder("runs", key)',
        'x = outputs / "controls"',
        'x = outputs.glob("runs/*/*")',
        'x = f"targets/{key}/train.csv"',
        'x = folder.with_name(name + ".tmp")',
        'FILES = ("metrics.json",)',
        'x = folder / "config.yaml"',
    ],
)
def test_the_test_sees_every_way_to_spell_one(tmp_path: Path, line: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(f"{line}\n")
    assert spelled(path) != []
    path.write_text('x = metrics["controls"]\ny = "metrics.json is of another version"\n')
    assert spelled(path) == []
