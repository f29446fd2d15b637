"""Pairs of runs on the same evaluation rows, by the paired difference of their AUC.

The resamples of a paired difference do not depend on the scores, so what a pair needs are the AUC
of both on each resample. A page holds them once per run and subtracts those of any two in the
browser; the differences to the best attack of each target stand in a table, for which no script is
needed.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.evaluation.score_table import evaluation_rows
from mia_bench.metrics import Floats
from mia_bench.metrics.summary import auroc_replicates, difference_of_replicates
from mia_bench.report.figures import PlottedTarget, defence, step_words
from mia_bench.report.load import Problem, RunResult
from mia_bench.storage import layout
from mia_bench.storage.hashing import hash_key
from mia_bench.storage.stored_files import read_frame
from mia_bench.utils.text import p_text

MAX_COMPARED = 120  # runs on one page whose replicates it holds: 5.3 kB each with 2,000 resamples
LEVELS = 65_535  # steps of a stored AUC: a difference is off by 1.6e-5 at most


@dataclass(frozen=True)
class Comparable:
    """A run that can be compared with others on its rows.

    `rows` is equal where evaluation rows, groups and resamples are; `replicates` (1 + R,) are those
    of `metrics.summary.auroc_replicates`.
    """

    run: RunResult
    rows: str
    replicates: Floats

    @property
    def label(self) -> str:
        """What differs most first: a phone cuts the rest off."""
        run = self.run
        what = f"{run.attack}, {defence(run)}, seed {run.seed}, {step_words(run)}"
        return f"{what}: {run.model} on {run.data}"

    @property
    def encoded(self) -> str:
        """Base64 of the replicates as little-endian 16-bit steps from 0 to 1."""
        steps = np.rint(self.replicates * LEVELS).astype("<u2")
        return base64.b64encode(steps.tobytes()).decode()


@dataclass(frozen=True)
class Difference:
    """AUC of a run minus that of the best attack on its target: value, interval and p-value."""

    attack: str
    entry: dict[str, float | None]
    n_resamples: int

    @property
    def p_value(self) -> str:
        p = self.entry["p_value"]
        return "none" if p is None else p_text(p, least_p(self.n_resamples))


def least_p(n_resamples: int) -> float:
    """The smallest p-value that so many resamples can give."""
    return 2 / (n_resamples + 1)


@dataclass(frozen=True)
class TargetDifferences:
    """The attacks of one target beside its best one."""

    title: str
    best: str
    lines: tuple[Difference, ...]


@dataclass(frozen=True)
class RunPairs:
    """What can be compared on a page; `left_out` runs are beyond MAX_COMPARED."""

    runs: tuple[Comparable, ...] = ()
    targets: tuple[TargetDifferences, ...] = ()
    left_out: int = 0


def pairs_of(targets: Sequence[PlottedTarget], problems: list[Problem]) -> RunPairs:
    """Runs that share their evaluation rows with another, of whole targets, best attacks first."""
    same: dict[tuple[Any, ...], list[RunResult]] = defaultdict(list)
    for run in (run for target in targets for run in target.runs):
        same[(*run.rows, run.metrics["n_members"], run.metrics["n_nonmembers"])].append(run)
    possible = {id(run) for alike in same.values() if len(alike) > 1 for run in alike}
    wanted = [run for target in targets for run in target.runs if id(run) in possible]
    compared = _comparable(wanted[:MAX_COMPARED], problems)
    by_run = {id(one.run): one for one in compared}
    tables = [
        _beside_the_best(target.title, [by_run[id(r)] for r in target.runs if id(r) in by_run])
        for target in targets
    ]
    kept = tuple(table for table in tables if table is not None)
    return RunPairs(tuple(compared), kept, max(0, len(wanted) - MAX_COMPARED))


def _comparable(runs: Sequence[RunResult], problems: list[Problem]) -> list[Comparable]:
    """Those of `runs` whose evaluation rows are really those of another one, in their order."""
    tables: dict[str, list[tuple[int, pd.DataFrame]]] = defaultdict(list)
    for i, run in enumerate(runs):
        try:
            rows = evaluation_rows(read_frame(run.ref.folder / layout.SCORES_FILE))
            tables[_identity(run, rows)].append((i, rows))
        except Exception as error:  # whatever a damaged file does to its reader
            problems.append(Problem(run.ref.place, f"cannot be compared with others: {error}"))
    compared: dict[int, Comparable] = {}
    # one set of rows after the other: the resamples of the last one stay in memory
    for rows_key, alike in tables.items():
        for i, rows in alike if len(alike) > 1 else ():
            compared[i] = Comparable(runs[i], rows_key, _replicates(runs[i], rows))
    return [compared[i] for i in sorted(compared)]


def _identity(run: RunResult, rows: pd.DataFrame) -> str:
    """A hash of what decides the resamples: rows, groups, membership, seed and their number."""
    columns = (rows[name].to_numpy().tolist() for name in ("sample_id", "group", "is_member"))
    return hash_key([sorted(zip(*columns, strict=True)), *_resampling(run)])


def _resampling(run: RunResult) -> tuple[int, int]:
    options = run.config["eval"]
    return int(options["seed"]), int(options["resamples"])


def _replicates(run: RunResult, rows: pd.DataFrame) -> Floats:
    scores, member = rows.score.to_numpy(), rows.is_member.to_numpy()
    return auroc_replicates(scores, member, rows.group.to_numpy().tolist(), *_resampling(run))


def _beside_the_best(title: str, runs: Sequence[Comparable]) -> TargetDifferences | None:
    """Runs are best first; None where nothing stands beside the best one."""
    if not runs:
        return None
    best = runs[0]
    lines = tuple(
        Difference(
            one.run.attack,
            difference_of_replicates(one.replicates, best.replicates),
            one.replicates.size - 1,
        )
        for one in runs[1:]
        if one.rows == best.rows
    )
    return TargetDifferences(title, best.run.attack, lines) if lines else None


def difference_text(entry: Mapping[str, float | None]) -> str:
    """'-0.083 [-0.119, -0.047]', as the page's script writes it too."""
    value, lo, hi = (entry[name] for name in ("value", "lo", "hi"))
    return f"{value:+.3f}" + ("" if lo is None else f" [{lo:+.3f}, {hi:+.3f}]")
