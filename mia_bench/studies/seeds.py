"""`python -m mia_bench.seeds [0 1 2]`: how far CLiD leads loss and mc, over seeds.

Runs `experiment=gap` once per seed (whatever is finished is reused), then compares attacks on the
same rows: paired differences of AUC with their group-bootstrap intervals, and their spread over
seeds, which the intervals do not contain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mia_bench.display.console import interval
from mia_bench.metrics.summary import paired_difference
from mia_bench.utils.text import sanitise

PAIRS = (
    ("clid", "loss"),
    ("clid", "mc"),
    ("clid", "mc15"),
    ("clid-base", "loss-base"),
    ("clid-base", "mc15-base"),
)
SINGLE = ("clid", "clid_vec", "loss", "mc", "mc15", "clid-base", "loss-base", "mc15-base")


def run_seed(seed: int, overrides: list[str]) -> dict[str, dict[str, float | None]]:
    """AUC per attack and on the base, and paired differences, each with its interval."""
    from mia_bench.execution.single_run import run_single
    from mia_bench.planning.experiment import compose

    experiment = compose("experiment=gap", f"seed={seed}", *overrides)
    outcome = run_single(experiment)
    metrics, folders = outcome.metrics, outcome.folders
    row = {name: metrics[name]["auroc"] for name in SINGLE}
    for name in ("clid", "loss", "mc15"):
        row[f"{name} on the base"] = metrics[name]["controls"]["base"]["auroc"]
    for a, b in PAIRS:
        row[f"{a} - {b}"] = difference(folders[a], folders[b], experiment.options.eval.seed)
    return row


def difference(a: Path, b: Path, seed: int) -> dict[str, float | None]:
    """AUC of run folder `a` minus that of `b` on the same evaluation rows, with its interval."""
    tables = [pd.read_parquet(folder / "scores.parquet") for folder in (a, b)]
    first, second = (table[~table.calibration].set_index("sample_id") for table in tables)
    second = second.loc[first.index]
    auroc: dict[str, float | None] = paired_difference(
        first.score.to_numpy(),
        second.score.to_numpy(),
        first.is_member.to_numpy(),
        first.group.tolist(),
        seed,
    )["auroc"]
    return auroc


def show(found: dict[int, dict[str, dict[str, float | None]]]) -> None:
    """One row per attack and per difference, one column per seed, mean and spread last."""
    table = Table(title="AUC over seeds", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("attack or difference", no_wrap=True)
    for seed in found:
        table.add_column(f"seed {seed}", justify="right", no_wrap=True)
    table.add_column("mean (sd)", justify="right", no_wrap=True)
    for name in next(iter(found.values())):
        values = np.array([row[name]["value"] for row in found.values()], dtype=np.float64)
        spread = f" ({values.std(ddof=1):.3f})" if len(values) > 1 else ""
        runs = [interval(row[name]) for row in found.values()]
        table.add_row(escape(sanitise(name)), *runs, f"{values.mean():.3f}{spread}")
    console = Console(highlight=False)
    console.width = max(console.width, 50 + 24 * len(found))
    console.print(table)
