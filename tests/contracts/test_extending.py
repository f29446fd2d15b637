"""The guides of docs/extending work exactly as they are printed.

Every file that a guide prints is written, and every command it prints is run, in the order of the
page, in one folder that all guides share as a reader's would. Commands and scripts run in this
process, which has torch and Lightning already; the slow test gives each guide a shell of its own.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from guides import blocks_of, commands_of, write_files
from sklearn.metrics import roc_curve

from mia_bench.metrics.registry import METRICS

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "extending"
SETUP = GUIDES / "README.md"
PARTS = ("attack", "model", "data", "mitigation", "metric")
SECTIONS = ("## The protocol", "## The shortest example", "## The tests that judge it")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a reader who has followed "Once, for every guide"."""
    folder = tmp_path_factory.mktemp("extending")
    assert write_files(SETUP, folder) == ["extra/conf/experiment/try.yaml"]
    assert commands_of(SETUP, folder) == [["export", f"PYTHONPATH={folder}/extra"]]
    before, path, modules = Path.cwd(), list(sys.path), set(sys.modules)
    sys.path.insert(0, str(folder / "extra"))
    os.chdir(folder)
    yield folder
    os.chdir(before)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def follow(workplace, monkeypatch, capsys):
    """follow(part): what the commands of a guide print, one text a command."""

    def type_in(words: list[str]) -> str:
        if words[:3] == ["python", "-m", "mia_bench"]:
            from mia_bench import run

            run(*words[3:])
            return capsys.readouterr().out
        assert words[0] == "python"
        monkeypatch.setattr(sys, "argv", words[1:])
        runpy.run_path(words[1], run_name="__main__")
        return capsys.readouterr().out

    def read_and_do(part: str) -> list[str]:
        guide = GUIDES / f"{part}.md"
        write_files(guide, workplace)
        return [type_in(words) for words in commands_of(guide, workplace)]

    return read_and_do


def printed_folder(printed: str, name: str) -> str:
    """Where the run called `name` lies, as a command said."""
    (line,) = [line for line in printed.splitlines() if line.startswith(f"{name}: outputs/")]
    return line.partition(": ")[2]


def stored(workplace: Path, printed: str, name: str) -> pd.DataFrame:
    """Scores of the run called `name`."""
    return pd.read_parquet(workplace / printed_folder(printed, name) / "scores.parquet")


@pytest.mark.long
def test_the_attack(follow, workplace):
    plan, whole, changed = follow("attack")
    assert "36 images, cosine" in plan
    assert "done" not in plan.partition("target  ")[2].partition("\n")[0]
    scores = stored(workplace, whole, "cosine")
    assert len(scores[~scores.calibration]) == 36
    assert scores.score.between(-1, 1).all()
    assert "36 images, cosine" in changed  # another timestep asks anew


@pytest.mark.long
def test_the_model(follow, workplace):
    _, plan, whole = follow("model")
    assert "to train" in plan
    assert len(stored(workplace, whole, "loss")) > 36
    configs = workplace.glob("outputs/targets/*/steps/4/config.json")
    assert any('"sample_size": 16' in path.read_text() for path in configs)


@pytest.mark.long
def test_the_data(follow, workplace):
    _, plan, whole = follow("data")
    assert "80 tsv rows" in plan
    assert stored(workplace, whole, "loss").sample_id.str.startswith("tsv:").all()


@pytest.mark.long
def test_the_mitigation(follow):
    plan, whole = follow("mitigation")
    assert "12 members, first_words" in plan
    assert "mitigation first_words" in whole
    from first_words import FirstWords  # type: ignore[import-not-found]

    rewritten = FirstWords().captions(["a"], [("red cat on a mat",)], seed=0)
    assert rewritten == [("red cat",)]


def test_the_metric(follow, workplace):
    try:
        (whole,) = follow("metric")
    finally:
        METRICS.pop("youden", None)
    folder = workplace / printed_folder(whole, "loss")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    rows = stored(workplace, whole, "loss")
    fpr, tpr, _ = roc_curve(rows.is_member[~rows.calibration], rows.score[~rows.calibration])
    assert metrics["youden"]["value"] == pytest.approx((tpr - fpr).max())
    assert {"lo", "hi"} < metrics["controls"]["base"]["youden"].keys()
    assert "Youden J: largest TPR minus FPR" in whole


@pytest.mark.parametrize("part", PARTS)
def test_every_guide_has_its_sections(part):
    text = (GUIDES / f"{part}.md").read_text(encoding="utf-8")
    places = [text.find(f"\n{section}\n") for section in (*SECTIONS, "## Checklist")]
    assert -1 not in places
    assert places == sorted(places)
    assert text.count("- [ ]") >= 4


@pytest.mark.parametrize("part", PARTS)
def test_every_guide_prints_python_and_yaml(part):
    kinds = {block.language for block in blocks_of(GUIDES / f"{part}.md") if block.file}
    assert kinds == ({"python"} if part == "metric" else {"python", "yaml"})  # always measured


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_in_a_shell(part, tmp_path):
    """A reader's own shell, with nothing but the package and the guide."""
    guides = (SETUP, GUIDES / f"{part}.md")
    script = ["set -e"]
    for guide in guides:
        write_files(guide, tmp_path)
        script += [b.body for b in blocks_of(guide) if b.language == "bash" and not b.file]
    script[1] = script[1].replace("PYTHONPATH=", f"PYTHONPATH={ROOT}:")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash"], input="".join(f"{s}\n" for s in script), cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("outputs/runs/*/*/*/scores.parquet"))
