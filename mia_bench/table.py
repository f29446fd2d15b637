"""The table a run ends with, as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

COLUMNS = ("attack", "AUC", "TPR@1%FPR", "ASR calibrated", "ASR oracle", "NFE", "seconds", "set")
WIDTH = 128
NOTES = """Brackets: 95 % bootstrap over near-duplicate groups, conditional on this
target, shadow and calibration. Parentheses: mean of the oracle under permuted labels.
* coarse: fewer than 10 false positives allowed. NFE: U-Net evaluations per image. Set: images
needed to tell a set of members (p < 0.01, arXiv 2411.12858)."""


def interval(entry: Mapping[str, Any], digits: int = 3) -> str:
    """'0.812 [0.78, 0.84]', or 'n/a' where there is no figure."""
    if entry.get("value") is None:
        return "n/a"
    if entry.get("lo") is None:
        return f"{entry['value']:.{digits}f} [n/a]"
    return f"{entry['value']:.{digits}f} [{entry['lo']:.2f}, {entry['hi']:.2f}]"


def rows(name: str, metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The attack's row, and below it the same attack on the untouched base."""
    nfe, seconds = f"{metrics['nfe_forward']:.4g}", f"{metrics['seconds']:.0f}"
    needed = metrics["dataset_test"]["samples_needed"]
    lines = [_row(name, metrics, nfe, seconds, "-" if needed is None else str(needed))]
    base = metrics["controls"].get("base")
    if base:
        lines.append(_row("  on the base", base, "", "", ""))
    return lines


def blind_lines(controls: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Controls that never query the model: their AUC and p."""
    return [
        (name, f"{entry['auroc']:.3f} p={entry['p_value']:.3f}", "control", "", "", "0", "", "")
        for name, entry in controls.items()
        if name.startswith("blind_")
    ]


def verdict(results: Sequence[tuple[str, Mapping[str, Any], Path]]) -> str:
    """The controls of the whole run judged together (Holm, 5 %)."""
    from mia_bench.controls import holm  # loads torch, which `status` does without

    p_values = {
        f"{attack} on the base" if name == "base" else name: entry["p_value"]
        for attack, metrics, _ in results
        for name, entry in metrics["controls"].items()
    }
    flagged = holm(p_values)
    if not p_values:
        return "No controls were run."
    if not flagged:
        return f"Controls: none of {len(p_values)} finds anything (Holm, 5 %)."
    return (
        f"WARNING: {', '.join(flagged)} tell members from non-members without the fine-tuning: "
        "the split is not random, or the base knew the members. Do not trust this table."
    )


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


def show(results: Sequence[tuple[str, Mapping[str, Any], Path]], title: str) -> None:
    """Print the table of finished cells and where their files are."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "attack" else "right", no_wrap=True)
    for line in blind_lines(results[0][1]["controls"]):
        table.add_row(*line, style="dim")
    for name, metrics, _ in results:
        for line in rows(name, metrics):
            table.add_row(*line, style="dim" if line[0].startswith(" ") else None)
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)  # a cut figure is worse than a wrapped line
    console.print(table)
    first = results[0][1]
    print(verdict(results))
    print(f"{first['n_members']} members, {first['n_nonmembers']} non-members. {NOTES}")
    for name, _, folder in results:
        print(f"{name}: {folder}")
