"""The table a run ends with, as text for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from mia_bench.display.console import cell_text, interval, print_table
from mia_bench.evaluation.run_controls import Results, base_name, judged
from mia_bench.storage.files import read_json
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import sanitise

COLUMNS = ("attack", "AUC", "TPR@1%FPR", "ASR calibrated", "ASR oracle", "NFE", "seconds", "set")


LINE = 100
NOTES = """Brackets: 95 % intervals over near-duplicate groups, conditional on this
target, shadow and calibration. Parentheses: mean of the oracle under permuted labels.
* coarse: fewer than 10 false positives allowed. NFE: U-Net evaluations per image. Set: images
needed to tell a set of members (p < 0.01, arXiv 2411.12858)."""


def rows(
    name: str, metrics: Mapping[str, Any], flagged: Collection[str] = ()
) -> list[tuple[str, ...]]:
    """The attack's row, and below it the same attack on the untouched base; flagged ones say !."""
    nfe, seconds = f"{metrics['nfe_forward']:.4g}", f"{metrics['seconds']:.0f}"
    needed = metrics["dataset_test"]["samples_needed"]
    lines = [_row(name, metrics, nfe, seconds, "-" if needed is None else str(needed))]
    base = metrics["controls"].get("base")
    if base:
        lines.append(_row("  on the base" + _mark(base_name(name), flagged), base, "", "", ""))
    return lines


def blind_lines(
    controls: Mapping[str, Any], flagged: Collection[str] = ()
) -> list[tuple[str, ...]]:
    """Controls that never query the model: their AUC and p; flagged ones say !."""
    return [
        (name + _mark(name, flagged), _with_p(entry), "control", "", "", "0", "", "")
        for name, entry in controls.items()
        if name.startswith("blind_")
    ]


def _with_p(entry: Mapping[str, Any]) -> str:
    return f"{entry['auroc']:.3f} p={entry['p_value']:.3f}"


def verdict(results: Results) -> str:
    """`judged` in words."""
    found = judged(results)
    alone = found["alone"]
    beside = f" Flagged among its own attack's controls alone: {', '.join(alone)}." if alone else ""
    if not found["p_values"]:
        return "No controls were run."
    if not found["flagged"]:
        n = len(found["p_values"])
        return f"Controls: none of {n} finds anything (Holm, 5 %).{beside}"
    return (
        f"WARNING: {', '.join(found['flagged'])} tell members from non-members without the "
        "fine-tuning: the split is not random, or the base knew the members. Do not trust this "
        f"table.{beside}"
    )


def comparisons(results: Results) -> list[str]:
    """Attacks that claim more than a plain one on the same features, and the ensemble against the
    best single attack (by calibration rows), with what carries it."""
    lines = []
    for name, metrics, _ in results:
        if "compared" in metrics:
            best = metrics["compared"]["best_by_calibration"]
            apart = interval(best["difference"]["auroc"])
            carried = ", ".join(key for key in metrics["chosen"] if key != "C")
            lines.append(f"{name}: AUC minus {best['attack']}'s {apart}; carried by {carried}.")
        plain = metrics.get("plain")
        if plain is not None:
            both = f"{metrics['auroc']['value']:.3f}, {plain['name']} {plain['auroc']:.3f}"
            apart = interval(plain["difference"])
            lines.append(f"{name}: AUC {both}, difference {apart}. {plain['remark']}")
    return lines


def _mark(name: str, flagged: Collection[str]) -> str:
    return " !" if name in flagged else ""


def _row(
    name: str, metrics: Mapping[str, Any], nfe: str, seconds: str, needed: str
) -> tuple[str, ...]:
    at_one = metrics["tpr_at_fpr"]["0.01"]
    oracle = f"{metrics['asr_oracle']:.3f} ({metrics['asr_oracle_permuted']:.3f})"
    return (
        name,
        interval(metrics["auroc"]),
        interval(at_one) + ("*" if at_one.get("low_resolution") else ""),
        interval(metrics["asr"]),
        oracle,
        nfe,
        seconds,
        needed,
    )


def show(results: Results, title: str) -> None:
    """Print the table of finished cells and where their files are."""
    table = Table(
        title=escape(sanitise(title)), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "attack" else "right", no_wrap=True)
    flagged = judged(results)["flagged"]
    for row in blind_lines(results[0][1]["controls"], flagged):
        table.add_row(*map(cell_text, row), style="dim")
    for name, metrics, _ in results:
        for row in rows(name, metrics, flagged):
            table.add_row(*map(cell_text, row), style="dim" if row[0].startswith(" ") else None)
    print_table(table)
    first = results[0][1]
    echo(verdict(results))
    for line in comparisons(results):
        echo(fill(line, LINE, subsequent_indent="  "))
    echo(f"{first['n_members']} members, {first['n_nonmembers']} non-members. {NOTES}")
    for name, _, folder in results:
        echo(f"{name}: {folder}")


def utility_line(folder: Path) -> str:
    """The numbers of utility.json that models are compared by."""
    found = read_json(folder / "utility.json")
    shown = {
        "held-out loss": found["heldout_loss"],
        "without caption": found["heldout_loss_null"],
        "member loss": found["member_loss"],
        "Frechet": found["frechet"],
        "of real images": found["frechet_real"],
        "FID": found["fid"],
        "CLIP score": found["clip_score"],
    }
    parts = [f"{name} {value:.4g}" for name, value in shown.items() if value is not None]
    return f"{', '.join(parts)} ({found['n_images']} images); {folder}"
