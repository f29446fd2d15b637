"""What people read, pinned as text: the plan, a run's table, and the report's tables.

Scores are drawn from fixed generators, so every figure is the same on every machine. Where a change
of what is printed is meant, `MIA_WRITE_SNAPSHOTS=1 pytest tests/contracts/test_snapshots.py` writes
the files again: read their difference before it is committed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mia_bench import run
from mia_bench.display.results_table import show
from mia_bench.report.load import read_outputs
from mia_bench.report.tables import as_csv, as_latex, as_markdown
from mia_bench.storage import layout

SNAPSHOTS = Path(__file__).with_name("snapshots")
WRITE = "MIA_WRITE_SNAPSHOTS"


def check(name: str, text: str) -> None:
    path = SNAPSHOTS / name
    if os.environ.get(WRITE):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{WRITE}=1 writes {path.name} again"


@pytest.mark.first_look
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("plan_default.txt", ()),
        ("plan_all_augment.txt", ("attack=all", "mitigation=augment", "eval.utility=true")),
        ("plan_split.txt", ("attack=[loss,clid]", "calibration=split", "finetune.steps=10")),
    ],
)
def test_plans(
    name: str, overrides: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*overrides, "plan_only=true", f"paths.outputs={tmp_path}")
    check(name, capsys.readouterr().out)


@pytest.fixture
def runs(tmp_path: Path, write_run: Callable[..., Path], quiet: Callable[..., dict]) -> Path:
    """Two attacks on one target and one on another, a leaking control among them."""
    write_run(tmp_path, "clid", 1.2, key="1" * 16, controls=quiet(p_image=0.001))
    write_run(tmp_path, "loss", 0.3, key="2" * 16, controls=quiet(p_image=0.001), nfe=1.0)
    write_run(tmp_path, "gsa", 2.0, "b" * 16, key="3" * 16, access="white_box", nfe=10.0)
    return tmp_path


def test_the_table_of_a_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = sorted((runs / "runs").glob("a*/*/*"))
    results = [
        (folder.name.split("-")[0], json.loads((folder / layout.METRICS_FILE).read_text()), folder)
        for folder in folders
    ]
    show(results, "tiny on openmoji, mitigation none, seed 0")
    check("run_table.txt", capsys.readouterr().out.replace(str(runs), "outputs"))


def test_the_tables_of_the_report(runs: Path) -> None:
    results, problems, _ = read_outputs([runs])
    assert not problems
    check("report.csv", as_csv(results))
    check("report.md", as_markdown(results, "Finished runs"))
    check("report.tex", as_latex(results, "Finished runs"))
