"""Tables of the study over seeds: one on the terminal, three in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mia_bench.display.console import Column, interval, table
from mia_bench.storage import layout
from mia_bench.studies.mitigation_tables import table_head, table_line
from mia_bench.studies.seeds import CONTROLS, VARIANTS, Interval, control_name

Study = Mapping[int, Mapping[str, Interval]]
"""Entries by seed and name, as `run_seed` gives them."""


def show(study: Study) -> None:
    """One row per attack and per difference, one column per seed, mean and spread last."""
    columns = [
        Column("attack or difference", left=True),
        *(Column(f"seed {seed}", rank) for rank, seed in enumerate(study, 1)),
        Column("mean (sd)"),
    ]
    rows = [[name, *intervals_of(study, name), mean_of(study, name)] for name in names_of(study)]
    table("AUC over seeds", columns, rows, f"{layout.METRICS_FILE} of each run")


def markdown(study: Study, command: str) -> str:
    """Attacks with what is taken out of them, differences, and controls, each over seeds.

    Args:
        command: that made the figures, for the first line.
    """
    names = list(names_of(study))
    lines = [f"`{command}`. AUC with 95 % intervals over near-duplicate groups.", ""]
    attacks = [n for n in names if not _is_variant(n) and " " not in n]
    variants = [v for v in VARIANTS if any(f"{a}-{v}" in names for a in attacks)]
    head = ["attack", *(f"seed {seed}" for seed in study), "mean (sd)"]
    lines += table_head([*head, *(f"-{variant}, mean (sd)" for variant in variants)])
    for attack in attacks:
        means = [mean_of(study, f"{attack}-{variant}") for variant in variants]
        lines.append(
            table_line(attack, *intervals_of(study, attack), mean_of(study, attack), *means)
        )
    differences = [name for name in names if " - " in name]
    if differences:
        lines += ["", *table_head(["difference, paired on the same rows", *head[1:]])]
        for name in differences:
            lines.append(table_line(name, *intervals_of(study, name), mean_of(study, name)))
    controls = [control_name(a, c) for a in attacks for c in CONTROLS]
    if any(name in names for name in controls):
        lines += ["", *table_head(["control", *head[1:]])]
        for name in (name for name in controls if name in names):
            lines.append(table_line(name, *intervals_of(study, name), mean_of(study, name)))
    return "\n".join(lines) + "\n"


def names_of(study: Study) -> Iterator[str]:
    """The names of every seed, in the order of the first that has them."""
    yield from dict.fromkeys(name for row in study.values() for name in row)


def intervals_of(study: Study, name: str) -> list[str]:
    """'0.854 [0.82, 0.89]' by seed; '-' where a seed has no such row."""
    return [interval(row[name]) if name in row else "-" for row in study.values()]


def mean_of(study: Study, name: str) -> str:
    """'0.836 (0.021)': mean and standard deviation over seeds; '-' where no seed has such a row."""
    entries = [row[name] for row in study.values() if name in row]
    if not entries:
        return "-"
    values = np.array([entry["value"] for entry in entries], dtype=np.float64)
    values = values[~np.isnan(values)]
    mean = f"{values.mean():.3f}" if len(values) else "n/a"
    return mean + (f" ({values.std(ddof=1):.3f})" if len(values) > 1 else "")


def _is_variant(name: str) -> bool:
    return name.endswith(tuple(f"-{variant}" for variant in VARIANTS))
