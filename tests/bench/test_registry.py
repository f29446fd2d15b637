"""Every benchmark has a section of the page, and its figures have rows there."""

from __future__ import annotations

import re
from pathlib import Path

from mia_bench.bench import timing
from mia_bench.bench.registry import BENCHMARKS
from mia_bench.bench.results_page import SECTIONS
from mia_bench.bench.scale import runs


def test_every_benchmark_has_its_section():
    assert SECTIONS.keys() == BENCHMARKS.keys()


def test_figures_have_rows_on_the_page(monkeypatch):
    monkeypatch.setattr(timing, "startup_seconds", lambda *_, **__: 0.5)
    monkeypatch.setattr(runs, "measure_metrics", lambda _: {"seconds": 1.0, "bytes_per_row": 2.0})
    for name in ("startup", "metrics"):
        assert BENCHMARKS[name](1).keys() == {row.key for row in SECTIONS[name][1]}


def test_the_makefile_names_benchmarks_that_exist():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    (words,) = re.findall(r"mia_bench\.bench (\w.*)", makefile)
    assert set(words.split()) <= BENCHMARKS.keys()
