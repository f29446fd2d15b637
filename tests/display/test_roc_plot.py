"""Figures are drawn from stored files."""

from __future__ import annotations

import pandas as pd
from PIL import Image

from mia_bench.display.roc_plot import roc_figure


def test_the_roc_figure_is_a_picture_with_every_cell(tmp_path):
    runs = []
    for name, value in (("a", 0.9), ("b", 0.4)):
        folder = tmp_path / name
        folder.mkdir()
        pd.DataFrame({"fpr": [0, 0.2, 1], "tpr": [0, value, 1]}).to_parquet(folder / "roc.parquet")
        runs.append((name, {"auroc": {"value": value}}, folder))
    path = roc_figure(runs, tmp_path / "deep" / "roc.png", "title")
    with Image.open(path) as picture:
        assert min(picture.size) > 400
    svg = roc_figure(runs, tmp_path / "roc.svg", "title")
    assert svg.read_text().count("clip-path") > 2


def test_dollar_signs_in_a_title_are_no_formula(tmp_path):
    """A title has the path of a model."""
    pd.DataFrame({"fpr": [0.0, 1.0], "tpr": [0.0, 1.0]}).to_parquet(tmp_path / "roc.parquet")
    runs = [("a", {"auroc": {"value": 0.5}}, tmp_path)]
    assert roc_figure(runs, tmp_path / "roc.svg", r"my$\bad{model$ on openmoji").is_file()
