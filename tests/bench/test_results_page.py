"""docs/benchmarks.md: verdicts, sections, and figures that the repository has."""

from __future__ import annotations

import json
from pathlib import Path

from mia_bench.bench import results
from mia_bench.bench.results_page import SECTIONS, PageRow, page_lines

DOCS = Path(__file__).parents[2] / "docs"


def test_what_misses_its_target_says_so():
    assert PageRow("k", "t", ">=", 6).verdict(5.9) == ">= 6 **missed**"
    assert PageRow("k", "t", "<=", 6).verdict(5.9) == "<= 6 met"
    assert PageRow("k", "t").verdict(5.9) == ""
    assert PageRow("k", "t", "~", 0.15).verdict(0.86) == "1 within 0.15 met"
    assert PageRow("k", "t", "~", 0.15).verdict(1.16) == "1 within 0.15 **missed**"


def test_drift_is_shown_by_attack():
    row = {"float32": 0.8, "change": -0.02, "lo": -0.03, "hi": -0.01, "rank_correlation": 0.99}
    stored = {"precision.bfloat16.pia": row, "measured": {"precision": results.circumstances()}}
    (line,) = [line for line in page_lines(stored) if "pia" in line]
    assert line.endswith("| no |")
    assert "-0.0300 to -0.0100" in line


def test_the_page_in_docs_is_made_from_its_figures():
    stored = json.loads((DOCS / "benchmarks.json").read_text())
    assert (DOCS / "benchmarks.md").read_text() == "\n".join(page_lines(stored)) + "\n"


def test_every_stored_figure_has_a_row():
    stored = json.loads((DOCS / "benchmarks.json").read_text())
    keys = {row.key for _, rows in SECTIONS.values() for row in rows}
    assert {key for key in stored if not key.startswith("precision.")} - {"measured"} <= keys
