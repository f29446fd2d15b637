"""Figures on disk: one benchmark's replace its earlier ones, the others stay."""

from __future__ import annotations

import json

from mia_bench.bench.results import add_figures, circumstances, to_json
from mia_bench.bench.timing import Ratio


def test_figures_of_other_benchmarks_stay(tmp_path):
    path = tmp_path / "docs" / "figures.json"
    add_figures("overhead", {"overhead.clid": Ratio(1.01234567, 1.0, 1.02, (2.0, 1.9))}, path)
    add_figures("unet", {"unet.mflop": 167.84321}, path)
    stored = json.loads(path.read_text())
    assert stored["overhead.clid"] == {"value": 1.0123, "lo": 1.0, "hi": 1.02}
    assert stored["unet.mflop"] == 167.8
    assert stored["measured"].keys() == {"overhead", "unet"}


def test_nested_figures_are_rounded_and_counts_are_not():
    assert to_json({"a": {"b": 0.123456}, "rows": 100_001}) == {"a": {"b": 0.1235}, "rows": 100_001}


def test_circumstances_name_the_machine():
    measured = circumstances()
    assert measured["cores"] >= 1
    assert measured["clock"] == "wall"
    assert measured["processor"]
