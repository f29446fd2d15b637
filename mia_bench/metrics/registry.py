"""The metrics of this project: one function and one entry of METRICS each.

Everything that measures, prints, stores or compares metrics goes through METRICS: metrics.json, the
tables of a run, a sweep and a report, CSV, Markdown and LaTeX, `mia_bench.evaluate`, W&B and
`mia_bench.verify`. To add one, write a function of `EvaluationRows` (measures.py has those that
there are), add an entry, and raise METRICS_VERSION in planning/keys.py, so that finished
runs are measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from mia_bench.metrics.evaluation_rows import EvaluationRows
from mia_bench.metrics.inference.dataset_inference import P_LEVEL
from mia_bench.metrics.measures import (
    asr,
    asr_oracle,
    asr_oracle_permuted,
    auroc,
    realised_fpr,
    set_size,
    tpr_at,
    tpr_calibrated,
)

ENDS = {"": "value", "_lo": "lo", "_hi": "hi"}
"""Endings of flat names, and the entries of metrics.json that they stand for."""


class Shown(IntEnum):
    """Which tables have a column for a metric; CSV, metrics.json and W&B hold every metric."""

    EVERYWHERE = 1
    RUN_TABLES = 2
    """The table of a run and of `mia_bench.evaluate`; not those of a sweep and a report."""
    FILES = 3


@dataclass(frozen=True)
class Metric:
    """How one metric is measured, where it is stored, and how it is shown."""

    label: str
    """Column heading."""
    path: tuple[str, ...]
    """Keys of metrics.json that lead to its figure."""
    measure: Callable[[EvaluationRows], Any]
    """From evaluation rows to plain JSON, without NaN or inf: {"value", "lo", "hi"} for an
    interval, as `Interval.to_json` gives, else a number."""
    interval: bool = True
    """The entry is {"value", "lo", "hi"}; otherwise a bare number or None."""
    footnote: str = ""
    """What a reader of the table must know; one sentence that names the label."""
    higher_is_better: bool = True
    """For the attacker: what a table sorts by first."""
    shown: Shown = Shown.FILES
    drop_rank: int = 50
    """A narrow terminal drops the column with the highest rank first, and never one with 0."""
    digits: int = 3
    parentheses: str = ""
    """Name of a metric that stands in parentheses behind this one."""
    random_value: bool = False
    """The value rests on random draws, not only its bounds."""
    stored_at: tuple[str, ...] | None = None
    """Keys under which what `measure` gives is stored, where `path` leads to a part of it."""
    whole_set: bool = False
    """A test of the whole set of rows: not measured for controls."""


METRICS: dict[str, Metric] = {
    "auroc": Metric("AUC", ("auroc",), auroc, shown=Shown.EVERYWHERE, drop_rank=0),
    "tpr_at_fpr_0_01": Metric(
        *("TPR@1%FPR", ("tpr_at_fpr", "0.01"), tpr_at("0.01")),
        shown=Shown.EVERYWHERE,
        drop_rank=1,
    ),
    "tpr_at_fpr_0_001": Metric(
        *("TPR@0.1%FPR", ("tpr_at_fpr", "0.001"), tpr_at("0.001")),
        shown=Shown.RUN_TABLES,
        drop_rank=5,
    ),
    "asr": Metric(
        *("ASR", ("asr",), asr),
        footnote="ASR: balanced accuracy at the threshold fixed on calibration rows",
        shown=Shown.EVERYWHERE,
        drop_rank=2,
    ),
    "tpr_calibrated": Metric("TPR, calibrated", ("tpr_calibrated",), tpr_calibrated),
    "realised_fpr": Metric(
        "FPR, calibrated", ("realised_fpr",), realised_fpr, higher_is_better=False
    ),
    "asr_oracle": Metric(
        *("ASR oracle", ("asr_oracle",), asr_oracle),
        interval=False,
        footnote="ASR oracle: at the best threshold of the evaluation rows themselves; in "
        "parentheses its mean under permuted labels",
        shown=Shown.RUN_TABLES,
        drop_rank=6,
        parentheses="asr_oracle_permuted",
    ),
    "asr_oracle_permuted": Metric(
        *("ASR oracle, permuted labels", ("asr_oracle_permuted",)),
        asr_oracle_permuted,
        interval=False,
        random_value=True,
    ),
    "set_size": Metric(
        *("set size", ("dataset_test", "samples_needed"), set_size),
        interval=False,
        footnote=f"set size: images needed for dataset inference at p < {P_LEVEL:g} (arXiv "
        "2411.12858)",
        higher_is_better=False,
        shown=Shown.EVERYWHERE,
        drop_rank=4,
        digits=0,
        random_value=True,
        stored_at=("dataset_test",),
        whole_set=True,
    ),
}


def measure(rows: EvaluationRows, whole_set: bool = False) -> dict[str, Any]:
    """Every metric of METRICS as metrics.json holds it; tests of the whole set where asked for.

    Of rows without limits, values alone: bounds are None and random values are left out.
    """
    measured: dict[str, Any] = {}
    for metric in METRICS.values():
        unwanted = metric.whole_set and not whole_set
        if unwanted or (metric.random_value and not rows.with_limits):
            continue
        *parents, last = metric.stored_at or metric.path
        place = measured
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = metric.measure(rows)
    return measured


def entry(metrics: Mapping[str, Any], name: str) -> Any:
    """What metrics.json holds of a metric: an interval entry or a number, None where absent."""
    place: Any = metrics
    for key in METRICS[name].path:
        if not isinstance(place, Mapping):
            return None
        place = place.get(key)
    return place


def value(metrics: Mapping[str, Any], name: str) -> float | None:
    """The bare value of a metric, None where it is undefined or absent."""
    stored = entry(metrics, name)
    if METRICS[name].interval:
        stored = stored.get("value") if isinstance(stored, Mapping) else None
    return None if stored is None else float(stored)


def flat_names() -> list[str]:
    """auroc, auroc_lo, auroc_hi, ..., asr_oracle, ...: columns of the CSV, and names on W&B."""
    return [
        name + ending
        for name, metric in METRICS.items()
        for ending in (ENDS if metric.interval else ("",))
    ]


def flat(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Figures by `flat_names`; those of metrics that the file does not have are left out.

    Raises TypeError or AttributeError where an entry is not of the metric's form.
    """
    return dict(_flat(metrics))


def _flat(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for name, metric in METRICS.items():
        if metric.path[0] not in metrics:
            continue
        stored = metrics
        for key in metric.path[:-1]:
            stored = stored[key]
        if metric.path[-1] not in stored:
            continue
        figure = stored[metric.path[-1]]
        for ending, end in ENDS.items() if metric.interval else ():
            yield name + ending, figure.get(end)
        if not metric.interval:
            yield name, figure


def random_keys() -> frozenset[str]:
    """Keys of metrics.json below which everything rests on random draws."""
    paths = [m.stored_at or m.path for m in METRICS.values() if m.random_value]
    return frozenset(("lo", "hi", "p_value", *(path[-1] for path in paths)))
