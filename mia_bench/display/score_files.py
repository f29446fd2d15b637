"""What `python -m mia_bench.evaluate` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mia_bench.display.console import interval
from mia_bench.storage.files import write_json
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import safe_name

if TYPE_CHECKING:
    from mia_bench.evaluation.score_files import Scores


HEADINGS = ("scores", "members", "others", "AUC", "TPR@1%FPR", "TPR@0.1%FPR", "ASR", "ASR oracle")
DIFFERENCES = ("scores", "minus", "images", "AUC", "p", "TPR@1%FPR")
NOTE = """Brackets: 95 % intervals over groups, conditional on the scores. ASR: balanced accuracy at
the threshold of the calibration rows; oracle: at the best threshold of the rows themselves, beside
what permuted labels give. * fewer than 10 false positives allowed."""
MAX_CURVES = 14  # curves on one figure


def line(scores: Scores) -> tuple[str, ...]:
    m = scores.judged.metrics
    rates = [m["tpr_at_fpr"][fpr] for fpr in ("0.01", "0.001")]
    return (
        scores.name,
        str(m["n_members"]),
        str(m["n_nonmembers"]),
        interval(m["auroc"]),
        *(interval(rate) + ("*" if rate["low_resolution"] and rate["k"] else "") for rate in rates),
        interval(m["asr"]),
        f"{m['asr_oracle']:.3f} ({m['asr_oracle_permuted']:.3f})",
    )


def difference(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    p = found["auroc"]["p_value"]
    return (
        name,
        found["minus"],
        str(found["rows"]),
        interval(found["auroc"]),
        "n/a" if p is None else f"{p:.3g}",
        interval(found["tpr_at_fpr"]["0.01"]),
    )


def show(files: Sequence[Scores], result: Mapping[str, Any]) -> None:
    """The tables, and the remarks after them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)

    def printed(title: str, headings: Sequence[str], lines: Sequence[tuple[str, ...]]) -> None:
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for i, heading in enumerate(headings):
            table.add_column(heading, justify="right" if i else "left", no_wrap=True)
        for runs in lines:
            table.add_row(*(Text(run) for run in runs))  # a file name is no markup
        widths = [max(map(len, column)) + 3 for column in zip(headings, *lines, strict=True)]
        console.width = max(console.width, sum(widths) + 4)  # a long line beats a cut figure
        console.print(table)

    printed("Membership scores", HEADINGS, [line(scores) for scores in files])
    compared = result["compared"]
    if compared:
        lines = [difference(name, found) for name, found in compared.items()]
        printed("Differences on the same images and resamples", DIFFERENCES, lines)
    echo(NOTE)
    for remark in result["remarks"]:
        echo(f"note: {remark}")


def write(folder: Path, files: Sequence[Scores], result: Mapping[str, Any]) -> None:
    """metrics.json, evaluation.md, roc.parquet and the figures into `folder`, and say so."""
    from mia_bench.display.charts import Curve, histogram, histogram_chart, roc_chart, thin
    from mia_bench.display.markdown_text import markdown, markdown_row
    from mia_bench.display.svg import standalone

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "metrics.json", result)
    points = [pd.DataFrame(vars(s.judged.roc)).assign(scores=s.name) for s in files]
    pd.concat(points).to_parquet(folder / "roc.parquet", index=False)
    curves = [
        Curve(s.name, thin(s.judged.roc), s.judged.metrics["auroc"]["value"], i)
        for i, s in enumerate(files[:MAX_CURVES])
    ]
    chart = standalone(roc_chart(curves, "ROC, logarithmic"))
    (folder / "roc.svg").write_text(chart, encoding="utf-8")
    for scores in files:
        bins = histogram(scores.judged.rows, scores.judged.metrics["thresholds"]["tau_acc"])
        path = folder / f"scores-{safe_name(scores.name)}.svg"
        chart = standalone(histogram_chart(bins, f"Scores of {scores.name}"))
        path.write_text(chart, encoding="utf-8")
    lines = [markdown_row(HEADINGS), "|" + "---|" * len(HEADINGS)]
    lines += [markdown_row(line(scores)) for scores in files]
    if result["compared"]:
        lines += ["", markdown_row(DIFFERENCES), "|" + "---|" * len(DIFFERENCES)]
        lines += [markdown_row(difference(n, found)) for n, found in result["compared"].items()]
    lines += ["", NOTE, *(f"- {markdown(remark)}" for remark in result["remarks"]), ""]
    (folder / "evaluation.md").write_text("\n".join(lines), encoding="utf-8")
    echo(f"written: {folder}")
