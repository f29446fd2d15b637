"""What the controls of a report say, and what published figures say beside measured ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mia_bench.display.results_table import comparisons
from mia_bench.metrics.permutation import holm
from mia_bench.report.load import Problem, RunResult

METRICS = {"auroc": "AUC", "tpr_at_fpr_0_01": "TPR@1%FPR", "asr": "ASR"}


@dataclass(frozen=True)
class Control:
    """One control on some evaluation rows; `lo` and `hi` are None for blind rows."""

    name: str
    auroc: float
    lo: float | None
    hi: float | None
    p_value: float
    flagged: bool


@dataclass(frozen=True)
class Family:
    """All controls on the same evaluation rows, judged together (Holm, 5 %)."""

    data: str
    split: str
    seed: int
    n_members: int
    n_nonmembers: int
    controls: tuple[Control, ...]

    @property
    def flagged(self) -> list[str]:
        return [control.name for control in self.controls if control.flagged]

    @property
    def sentence(self) -> str:
        if not self.controls:
            return "No controls were run."
        if not self.flagged:
            return f"None of {len(self.controls)} controls finds anything (Holm, 5 %)."
        return (
            f"{', '.join(self.flagged)} tell members from non-members without the fine-tuning: the "
            "split is not random, or the base knew the members. Do not trust runs on these rows."
        )


def families(runs: Sequence[RunResult]) -> list[Family]:
    """Controls by evaluation rows; a control that several runs share is counted once."""
    by_rows: dict[tuple[Any, ...], dict[tuple[Any, ...], dict[str, Any]]] = defaultdict(dict)
    first: dict[tuple[Any, ...], RunResult] = {}
    for run in runs:
        rows = (*run.rows, run.metrics["n_members"], run.metrics["n_nonmembers"])
        first.setdefault(rows, run)
        by_rows[rows]  # rows without controls are said to have none
        for name, entry in run.controls.items():
            shown = f"{run.attack} on the base" if name == "base" else name
            value = entry["auroc"]
            value = value if isinstance(value, Mapping) else {"value": value}
            same = (shown, round(value["value"], 9), round(entry["p_value"], 9))
            by_rows[rows][same] = {**value, "p_value": entry["p_value"]}
    return [_family(first[rows], found) for rows, found in by_rows.items()]


def _family(run: RunResult, found: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> Family:
    # Holm goes by p alone: positions stand for names, which may occur twice (two models)
    flagged = set(holm({str(i): entry["p_value"] for i, entry in enumerate(found.values())}))
    controls = tuple(
        Control(
            key[0],
            entry["value"],
            entry.get("lo"),
            entry.get("hi"),
            entry["p_value"],
            str(i) in flagged,
        )
        for i, (key, entry) in enumerate(found.items())
    )
    data, split, seed = run.rows
    counts = run.metrics["n_members"], run.metrics["n_nonmembers"]
    return Family(data, split, seed, *counts, controls)


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
    entry = attacks.get(run.attack) if isinstance(attacks, Mapping) else None
    if not isinstance(node, Mapping) or not isinstance(entry, Mapping):
        return [], []
    found, problems = [], []
    for name, label in METRICS.items():
        value = entry.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            what = f"published {name} of {run.attack} is {value!r}: no share between 0 and 1"
            problems.append(Problem(f"{run.attack}-{run.key}/config.yaml", what))
            continue
        outside = _outside(measured(run, name), float(value))
        words = str(node.get("source", "no source")), str(node.get("comparable") or "")
        found.append(Published(label, float(value), outside, *words, _notes(node)))
    return found, problems


def _notes(node: Mapping[str, Any]) -> tuple[str, ...]:
    notes = node.get("notes")
    return tuple(map(str, notes)) if isinstance(notes, list) else ()


def measured(run: RunResult, name: str) -> Mapping[str, Any]:
    """The entry {value, lo, hi} of a flat metric name."""
    entry = run.metrics["tpr_at_fpr"]["0.01"] if name.startswith("tpr_") else run.metrics[name]
    found: Mapping[str, Any] = entry
    return found


def _outside(entry: Mapping[str, Any], value: float) -> bool | None:
    if entry.get("lo") is None:
        return None
    return not entry["lo"] <= value <= entry["hi"]


@dataclass(frozen=True)
class Comparison:
    """An attack beside a plainer one on the same rows, in words."""

    where: str
    sentence: str


def compared(runs: Sequence[RunResult]) -> tuple[list[Comparison], list[Problem]]:
    """What runs say about themselves beside others: the stored paired differences."""
    found, problems = [], []
    for run in runs:
        where = f"{run.model} on {run.data}, {run.mitigation}, seed {run.seed}"
        try:
            lines = comparisons([(run.attack, run.metrics, run.folder)])
        except (KeyError, TypeError) as error:
            what = f"its comparison lacks {error}: written by another version"
            problems.append(Problem(f"{run.attack}-{run.key}/metrics.json", what))
            continue
        found += [Comparison(where, line) for line in lines]
    return found, problems
