"""What the controls of a report say, and what published figures say beside measured ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mia_bench.display.results_table import comparisons
from mia_bench.evaluation.run_controls import Control, ControlVerdict, judge_controls
from mia_bench.metrics.registry import METRICS, entry
from mia_bench.report.load import Problem, RunResult
from mia_bench.storage import layout


@dataclass(frozen=True)
class Family:
    """All controls on the same evaluation rows, and their verdict."""

    data: str
    split: str
    seed: int
    n_members: int
    n_nonmembers: int
    verdict: ControlVerdict

    @property
    def controls(self) -> tuple[Control, ...]:
        return self.verdict.controls

    @property
    def flagged(self) -> list[str]:
        return self.verdict.flagged

    @property
    def sentence(self) -> str:
        return self.verdict.sentence


def families(runs: Sequence[RunResult]) -> list[Family]:
    """Controls by evaluation rows; rows without controls are said to have none."""
    by_rows: dict[tuple[str, str, int, int, int], list[RunResult]] = defaultdict(list)
    for run in runs:
        counts = run.metrics["n_members"], run.metrics["n_nonmembers"]
        by_rows[(*run.rows, *counts)].append(run)
    return [
        Family(*rows, judge_controls((run.attack, run.metrics) for run in same))
        for rows, same in by_rows.items()
    ]


@dataclass(frozen=True)
class Published:
    """A figure of the literature beside the measured one; `outside` its measured interval."""

    metric: str
    value: float
    outside: bool | None
    source: str
    comparable: str
    """What the configuration says about comparing, or nothing."""
    notes: tuple[str, ...] = ()


def published(run: RunResult) -> tuple[list[Published], list[Problem]]:
    """What the configuration of a run says the literature reports for this attack and data."""
    node = run.config.get("published")
    attacks = node.get("attacks") if isinstance(node, Mapping) else None
    figures = attacks.get(run.attack) if isinstance(attacks, Mapping) else None
    if not isinstance(node, Mapping) or not isinstance(figures, Mapping):
        return [], []
    rows, problems = [], []
    for name, metric in METRICS.items():
        value = figures.get(name)
        if value is None or not metric.interval:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            what = f"published {name} of {run.attack} is {value!r}: no share between 0 and 1"
            problems.append(Problem(f"{run.ref.name}/{layout.CONFIG_FILE}", what))
            continue
        outside = _outside(entry(run.metrics, name), float(value))
        source = str(node.get("source", "no source")), str(node.get("comparable") or "")
        rows.append(Published(metric.label, float(value), outside, *source, _notes(node)))
    return rows, problems


def _notes(node: Mapping[str, Any]) -> tuple[str, ...]:
    notes = node.get("notes")
    return tuple(map(str, notes)) if isinstance(notes, list) else ()


def _outside(interval: Mapping[str, Any] | None, value: float) -> bool | None:
    if interval is None or interval.get("lo") is None:
        return None
    return not interval["lo"] <= value <= interval["hi"]


@dataclass(frozen=True)
class Comparison:
    """An attack beside a plainer one on the same rows, in words."""

    where: str
    sentence: str


def compared(runs: Sequence[RunResult]) -> tuple[list[Comparison], list[Problem]]:
    """What runs say about themselves beside others: the stored paired differences."""
    pairs, problems = [], []
    for run in runs:
        where = f"{run.model} on {run.data}, {run.mitigation}, seed {run.seed}"
        try:
            lines = comparisons([(run.attack, run.metrics, run.ref.folder)])
        except (KeyError, TypeError) as error:
            what = f"its comparison lacks {error}: written by another version"
            problems.append(Problem(f"{run.ref.name}/{layout.METRICS_FILE}", what))
            continue
        pairs += [Comparison(where, line) for line in lines]
    return pairs, problems
