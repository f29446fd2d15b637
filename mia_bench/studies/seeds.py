"""`python -m mia_bench.seeds [0 1 2]`: how far CLiD leads loss and mc, over seeds.

Runs `experiment=gap` once per seed (whatever is finished is reused), then compares attacks on the
same rows: paired differences of AUC with their group-bootstrap intervals, and their spread over
seeds, which the intervals do not contain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mia_bench.display.console import Column, interval, table
from mia_bench.metrics.summary import paired_difference
from mia_bench.storage import layout
from mia_bench.storage.stored_files import Unreadable, read_frame
from mia_bench.utils.terminal import echo

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
        seed_of_bootstrap = experiment.options.eval.seed
        row[f"{a} - {b}"] = readable_difference(folders[a], folders[b], seed_of_bootstrap)
    return row


def readable_difference(a: Path, b: Path, seed: int) -> dict[str, float | None]:
    """`difference`; null, with a message, where the scores of a run cannot be read."""
    try:
        return difference(a, b, seed)
    except Unreadable as error:
        echo(f"no difference of {a.name} and {b.name}: {error}", error=True)
        return {"value": None, "lo": None, "hi": None}


def difference(a: Path, b: Path, seed: int, n_resamples: int = 2000) -> dict[str, float | None]:
    """AUC of run folder `a` minus that of `b` on the same evaluation rows, with its interval."""
    tables = [read_frame(folder / layout.SCORES_FILE) for folder in (a, b)]
    first, second = (table[~table.calibration].set_index("sample_id") for table in tables)
    second = second.loc[first.index]
    auroc: dict[str, float | None] = paired_difference(
        first.score.to_numpy(),
        second.score.to_numpy(),
        first.is_member.to_numpy(),
        first.group.tolist(),
        seed,
        n_resamples,
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
        values = values[~np.isnan(values)]
        mean = f"{values.mean():.3f}" if len(values) else "n/a"
        spread = f" ({values.std(ddof=1):.3f})" if len(values) > 1 else ""
        rows.append((name, *map(interval, entries), f"{mean}{spread}"))
    table("AUC over seeds", columns, rows, f"{layout.METRICS_FILE} of each run")
