"""What `python -m mia_bench.evaluate` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mia_bench.display.console import Column, footnotes, interval, table
from mia_bench.display.metric_columns import metric_columns
from mia_bench.metrics.registry import METRICS, Shown
from mia_bench.storage import layout
from mia_bench.storage.files import write_json
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import p_text, safe_name

if TYPE_CHECKING:
    from mia_bench.evaluation.score_files.measuring import Scores


DIFFERENCE_COLUMNS = (
    *(Column("scores", left=True), Column("minus", left=True), Column("images", 2)),
    Column("left out", 4, footnote="left out: rows that only one of the two files has"),
    *(Column(METRICS["auroc"].label), Column("p", 1)),
    Column(METRICS["tpr_at_fpr_0_01"].label, 3),
)
REST = "metrics.json in the folder out="
MAX_CURVES = 14  # curves on one figure


def columns() -> list[Column]:
    """Counts of rows, then metrics; no costs, which a file of scores does not tell."""
    counts = Column("members", 8), Column("non-members", 9)
    metrics = [column.column for column in metric_columns(Shown.RUN_TABLES)]
    return [Column("scores", left=True), *counts, *metrics]


def row(scores: Scores) -> tuple[str, ...]:
    """The cells of one file."""
    metrics = scores.measured.metrics
    counts = str(metrics["n_members"]), str(metrics["n_nonmembers"])
    return (scores.name, *counts, *(c.text(metrics) for c in metric_columns(Shown.RUN_TABLES)))


def difference_row(name: str, difference: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a file's difference to the first file."""
    p, left_out = difference["auroc"]["p_value"], difference["rows_left_out"]
    floor = 2 / (difference["resamples"] + 1)
    return (
        *(name, difference["minus"], str(difference["rows"])),
        str(left_out) if left_out else "",
        interval(difference["auroc"]),
        "n/a" if p is None else p_text(p, floor),
        interval(difference["tpr_at_fpr"]["0.01"]),
    )


def show(files: Sequence[Scores], result: Mapping[str, Any]) -> None:
    """The tables, and the remarks after them."""
    table("Membership scores", columns(), [row(scores) for scores in files], REST)
    if result["compared"]:
        rows = [difference_row(*compared) for compared in result["compared"].items()]
        table("Differences on the same images and resamples", DIFFERENCE_COLUMNS, rows, REST)
    for remark in result["remarks"]:
        echo(f"note: {remark}")


def write(folder: Path, files: Sequence[Scores], result: Mapping[str, Any]) -> None:
    """metrics.json, evaluation.md, roc.parquet and the figures into `folder`, and say so."""
    from mia_bench.display.charts import Curve, histogram, histogram_chart, roc_chart, thin
    from mia_bench.display.markdown_text import markdown
    from mia_bench.display.svg.style import standalone

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / layout.METRICS_FILE, result)
    points = [pd.DataFrame(vars(s.measured.roc)).assign(scores=s.name) for s in files]
    pd.concat(points).to_parquet(folder / layout.ROC_FILE, index=False)
    curves = [
        Curve(s.name, thin(s.measured.roc), s.measured.metrics["auroc"]["value"], i)
        for i, s in enumerate(files[:MAX_CURVES])
    ]
    chart = standalone(roc_chart(curves, "ROC, logarithmic"))
    (folder / "roc.svg").write_text(chart, encoding="utf-8")
    for scores in files:
        bins = histogram(scores.measured.rows, scores.measured.metrics["thresholds"]["tau_acc"])
        path = folder / f"scores-{safe_name(scores.name)}.svg"
        chart = standalone(histogram_chart(bins, f"Scores of {scores.name}"))
        path.write_text(chart, encoding="utf-8")
    rows = [row(scores) for scores in files]
    lines = _markdown_table(columns(), rows)
    if result["compared"]:
        differences = [difference_row(*compared) for compared in result["compared"].items()]
        lines += ["", *_markdown_table(DIFFERENCE_COLUMNS, differences)]
    notes = footnotes(columns(), rows)
    lines += ["", *(f"- {markdown(note)}" for note in (*notes, *result["remarks"])), ""]
    (folder / "evaluation.md").write_text("\n".join(lines), encoding="utf-8")
    echo(f"written: {folder}")


def _markdown_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    from mia_bench.display.markdown_text import markdown_row

    headings = [column.heading for column in columns]
    return [markdown_row(headings), "|" + "---|" * len(headings), *map(markdown_row, rows)]
