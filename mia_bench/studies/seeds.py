"""`python -m mia_bench.seeds [0 1 2]`: how far CLiD leads loss and mc, over seeds.

Runs `experiment=gap` once per seed (whatever is finished is reused), then compares attacks on the
same rows: paired differences of AUC with their group-bootstrap intervals, and their spread over
seeds, which the intervals do not contain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mia_bench.display.console import Column, interval, table
from mia_bench.metrics.summary import paired_difference

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


def show(intervals: dict[int, dict[str, dict[str, float | None]]]) -> None:
    """One row per attack and per difference, one column per seed, mean and spread last."""
    columns = [
        Column("attack or difference", left=True),
        *(Column(f"seed {seed}", rank) for rank, seed in enumerate(intervals, 1)),
        Column("mean (sd)"),
    ]
    rows = []
    for name in next(iter(intervals.values())):
        entries = [of_seed[name] for of_seed in intervals.values()]
        values = np.array([entry["value"] for entry in entries], dtype=np.float64)
        spread = f" ({values.std(ddof=1):.3f})" if len(values) > 1 else ""
        rows.append((name, *map(interval, entries), f"{values.mean():.3f}{spread}"))
    table("AUC over seeds", columns, rows, "metrics.json of each run")
