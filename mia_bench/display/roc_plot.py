"""Figures of a run, drawn from stored files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.display.attack_style import matplotlib_style
from mia_bench.storage import layout
from mia_bench.storage.files import remove_stale_parts, replacing

MIN_RATE = 1e-3


def roc_figure(runs: Sequence[tuple[str, dict[str, Any], Path]], path: Path, title: str) -> Path:
    """Log-log ROC curves of every finished run, best first, into `path` (PNG or SVG)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")  # leaves a notebook's backend alone
    axes = figure.subplots()
    ordered = sorted(runs, key=lambda run: -run[1]["auroc"]["value"])
    for name, metrics, folder in ordered:
        roc = pd.read_parquet(folder / layout.ROC_FILE)
        label = f"{name} ({metrics['auroc']['value']:.3f})"
        x, y = np.maximum(roc.fpr, MIN_RATE), np.maximum(roc.tpr, MIN_RATE)
        style = {**matplotlib_style(name), "marker": ""}  # a step at every row has no room for one
        axes.step(x, y, where="post", label=label, linewidth=1.6, **style)
    line = np.geomspace(MIN_RATE, 1, 50)
    axes.plot(line, line, color="grey", linestyle=":", linewidth=1, label="chance (0.500)")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(MIN_RATE, 1),
        ylim=(MIN_RATE, 1),
        xlabel="false positive rate",
        ylabel="true positive rate",
    )
    axes.set_title(title, parse_math=False)  # a model's path may hold dollar signs
    axes.legend(fontsize=8, loc="lower right", title="attack (AUC)")
    axes.grid(which="both", alpha=0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:  # a sweep does not draw it again where a kill cut it short
        figure.savefig(partial, dpi=130, format=path.suffix.removeprefix("."))
    remove_stale_parts(path)
    return path
