"""Figures are drawn from stored files."""

from __future__ import annotations

import errno
from pathlib import Path

import pandas as pd
import pytest
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


def test_a_figure_that_is_cut_short_leaves_the_one_before(tmp_path, monkeypatch):
    pd.DataFrame({"fpr": [0.0, 1.0], "tpr": [0.0, 1.0]}).to_parquet(tmp_path / "roc.parquet")
    runs = [("a", {"auroc": {"value": 0.5}}, tmp_path)]
    path = roc_figure(runs, tmp_path / "roc.png", "title")
    before = path.read_bytes()

    def cut_short(_, where, **__):
        Path(where).write_bytes(before[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", cut_short)
    with pytest.raises(OSError, match="No space left"):
        roc_figure(runs, path, "title")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []
