"""The table a run ends with, as text for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mia_bench.display.console import Column, interval, paragraph, table
from mia_bench.display.metric_columns import MetricColumn, cost_columns, metric_columns
from mia_bench.evaluation.run_controls import (
    MODEL_CONTROLS,
    Control,
    ControlVerdict,
    Results,
    judge_controls,
)
from mia_bench.metrics.registry import Shown
from mia_bench.storage import layout
from mia_bench.storage.files import read_json
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import p_text

CONTROL_INDENT = "  "


def columns() -> list[MetricColumn]:
    """Metrics of the evaluation rows, then costs."""
    return [*metric_columns(Shown.RUN_TABLES), *cost_columns()]


def rows(
    name: str, metrics: Mapping[str, Any], flagged: Collection[str] = ()
) -> list[tuple[str, ...]]:
    """The attack's row, and below it its control on another model; flagged ones say !.

    `flagged`: labels of flagged controls.
    """
    lines = [(name, *(column.text(metrics) for column in columns()))]
    for kind in MODEL_CONTROLS:
        if control := metrics["controls"].get(kind):
            mark = _mark(Control(kind, name, 0.0, None, None, 1.0).label, flagged)
            heading = f"{CONTROL_INDENT}{kind} control{mark}"
            lines.append((heading, *(column.text(control) for column in columns())))
    if (own := metrics.get("own_outputs")) is not None:
        cells = {"AUC": f"{own['auroc']:.3f}", "TPR@1%FPR": interval(own["called_members"]["0.01"])}
        texts = (cells.get(column.heading, "") for column in columns())
        lines.append((f"{CONTROL_INDENT}own outputs", *texts))
    return lines


def blind_lines(
    controls: Mapping[str, Any], flagged: Collection[str] = ()
) -> list[tuple[str, ...]]:
    """Controls that never query the model: their AUC and p; flagged ones say !."""
    cells = {"AUC": "", "NFE": "0"}
    return [
        (
            name + _mark(name, flagged),
            *((cells | {"AUC": _with_p(entry)}).get(column.heading, "") for column in columns()),
        )
        for name, entry in controls.items()
        if name not in MODEL_CONTROLS
    ]


def _with_p(entry: Mapping[str, Any]) -> str:
    p = p_text(entry["p_value"])
    return f"{entry['auroc']:.3f} p{'=' if p[0] != '<' else ''}{p}"


def verdict_line(verdict: ControlVerdict) -> str:
    """The verdict on the controls, and a warning where one of them is flagged."""
    return f"WARNING: {verdict.sentence}" if verdict.flagged else verdict.sentence


def comparisons(results: Results) -> list[str]:
    """An attack beside its plain variant, and the ensemble beside the best single attack.

    Best is the attack with the highest AUC on calibration rows.
    """
    lines = []
    for name, metrics, _ in results:
        if "compared" in metrics:
            best = metrics["compared"]["best_by_calibration"]
            difference = interval(best["difference"]["auroc"])
            features = ", ".join(key for key in metrics["chosen"] if key != "C")
            lines.append(
                f"{name}: AUC minus that of {best['attack']} {difference}; features with the most "
                f"weight: {features}."
            )
        if (own := metrics.get("own_outputs")) is not None:
            lines.append(f"{name}: {own_outputs_sentence(own)}")
        plain = metrics.get("plain")
        if plain is not None:
            both = f"{metrics['auroc']['value']:.3f}, {plain['name']} {plain['auroc']:.3f}"
            difference = interval(plain["difference"])
            lines.append(f"{name}: AUC {both}, difference {difference}. {plain['remark']}")
    return lines


def own_outputs_sentence(own: Mapping[str, Any]) -> str:
    """How many of the target's own outputs are called members, beside members and non-members."""
    parts = []
    for fpr, share in own["called_members"].items():
        if share["value"] is None:
            parts.append(f"no threshold at {float(fpr):.0%} FPR ({share['reason']})")
            continue
        called = (f"{share[key]:.1%}" for key in ("value", "members", "nonmembers"))
        own_share, members, nonmembers = called
        parts.append(
            f"{own_share} at the threshold of {float(fpr):.0%} FPR (members {members}, non-members "
            f"{nonmembers})"
        )
    return (
        f"of {own['n']} pictures that the target generated from non-members' captions, it calls "
        f"members {', '.join(parts)}."
    )


def _mark(label: str, flagged: Collection[str]) -> str:
    return " !" if label in flagged else ""


def show(results: Results, title: str) -> None:
    """Print the table of finished runs and where their files are."""
    verdict = judge_controls((name, metrics) for name, metrics, _ in results)
    blind = {name: entry for _, m, _ in results for name, entry in m["controls"].items()}
    lines = blind_lines(blind, verdict.flagged)
    styles: list[str | None] = ["dim"] * len(lines)
    notes = ["blind"] if lines else []
    for name, metrics, _ in results:
        for row in rows(name, metrics, verdict.flagged):
            lines.append(row)
            styles.append("dim" if row[0].startswith(CONTROL_INDENT) else None)
    notes += [kind for kind in MODEL_CONTROLS if any(kind in m["controls"] for _, m, _ in results)]
    notes += ["own"] if any("own_outputs" in metrics for _, metrics, _ in results) else []
    headings = [Column("attack", left=True), *(column.column for column in columns())]
    table(title, headings, lines, "metrics.json of each run", styles, notes)
    first = results[0][1]
    echo(f"{first['n_members']} members, {first['n_nonmembers']} non-members.")
    for line in [verdict_line(verdict), *comparisons(results)]:
        paragraph(line)
    for name, _, folder in results:
        echo(f"{name}: {folder}")


def utility_line(folder: Path) -> str:
    """The numbers of utility.json that models are compared by."""
    utility = read_json(folder / layout.UTILITY_FILE)
    figures = {
        "held-out loss": utility["heldout_loss"],
        "without caption": utility["heldout_loss_null"],
        "member loss": utility["member_loss"],
        "Frechet": utility["frechet"],
        "of real images": utility["frechet_real"],
        "FID": utility["fid"],
        "CLIP score": utility["clip_score"],
    }
    parts = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
    return f"{', '.join(parts)} ({utility['n_images']} images); {folder}"
