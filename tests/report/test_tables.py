"""CSV, markdown and LaTeX: the same rows, and names that cannot become commands."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from mia_bench.report.load import read_outputs
from mia_bench.report.tables import (
    as_csv,
    as_latex,
    as_markdown,
    headings,
    ordered,
    over_seeds,
    row,
)

HOSTILE = "=cmd|x<script>$\\input{a}`[a](b)"


@pytest.fixture
def runs(tmp_path, write_run):
    write_run(tmp_path, "weak", 0.1)
    write_run(tmp_path, "strong", 2.0)
    write_run(tmp_path, "clid", mitigation={HOSTILE: {}})
    return ordered(read_outputs([tmp_path])[0])


def test_the_best_attack_of_a_target_comes_first(runs):
    assert [c.attack for c in runs if c.mitigation == "none"] == ["strong", "weak"]


def test_csv_holds_unrounded_figures_and_no_formulas(runs):
    rows = list(csv.DictReader(io.StringIO(as_csv(runs))))
    by_attack = {r["attack"]: r for r in rows}
    for run in runs:
        assert float(by_attack[run.attack]["auroc"]) == run.metrics["auroc"]["value"]
        assert float(by_attack[run.attack]["asr_hi"]) == run.metrics["asr"]["hi"]
    assert by_attack["clid"]["mitigation"] == "'" + HOSTILE
    assert by_attack["clid"]["tpr_at_fpr_0_001"] == ""


def test_no_table_file_holds_a_control_character(tmp_path, write_run):
    """Names, and the title of the page, come from files of others."""
    odd = "=1\x1b[31m\u202e\x00\x07"
    folder = write_run(tmp_path, "loss", mitigation={odd: {}}, data={"name": odd, "source": {}})
    assert folder.is_dir()
    runs, _, _ = read_outputs([tmp_path])
    for text in (as_csv(runs), as_markdown(runs, odd), as_latex(runs, odd)):
        odd_characters = {c for c in text if not c.isprintable() and c != "\n"}
        assert odd_characters == set()
        assert "'=1" in text


def test_markdown_and_latex_cannot_be_broken_out_of(runs):
    text = as_markdown(runs, "title")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    bars = {line.replace("\\|", "").count("|") for line in lines}
    assert len(bars) == 1
    assert "<script" not in text
    assert "](b)" not in text.replace("\\]", "")
    tex = as_latex(runs, "title")
    assert "\\input{a}" not in tex
    assert "\\textbackslash{}input\\{a\\}" in tex
    body = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in body} == {len(headings()) - 1}


def test_a_row_reads_as_the_terminal_table(runs):
    strong = next(c for c in runs if c.attack == "strong")
    texts = row(strong)
    assert texts[7].startswith(f"{strong.metrics['auroc']['value']:.3f} [")
    assert texts[8].endswith("*")


def test_seeds_are_joined_where_nothing_else_differs(tmp_path, write_run):
    for seed in range(3):
        write_run(tmp_path, "clid", seed=seed, finetune={"steps": 300, "seed": seed})
    write_run(tmp_path, "clid", seed=3, finetune={"steps": 40, "seed": 3})
    runs = read_outputs([tmp_path])[0]
    (spread,) = over_seeds(runs)
    assert spread.seeds == (0, 1, 2)
    values = [c.metrics["auroc"]["value"] for c in runs if c.seed < 3]
    assert spread.auc_mean_sd == f"{np.mean(values):.3f} ({np.std(values, ddof=1):.3f})"
