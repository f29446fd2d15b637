"""The columns that tables of metrics have: one for each metric of the registry that is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mia_bench.display.console import Column, interval
from mia_bench.metrics import registry
from mia_bench.metrics.registry import METRICS, Metric, Shown


@dataclass(frozen=True)
class MetricColumn:
    """One column: its heading, and what it shows of a metrics.json."""

    column: Column
    text: Callable[[Mapping[str, Any]], str]
    number: Callable[[Mapping[str, Any]], float | None]
    """What it sorts by."""
    higher_first: bool = False

    @property
    def heading(self) -> str:
        return self.column.heading


def metric_columns(level: Shown) -> list[MetricColumn]:
    """Columns of the metrics that tables of this level show, in the order of the registry."""
    return [_column(name, metric) for name, metric in METRICS.items() if metric.shown <= level]


def cost_columns() -> list[MetricColumn]:
    """What the scores cost: U-Net evaluations, backward ones behind a plus, and seconds."""
    nfe = Column("NFE", 3, footnote="NFE: U-Net evaluations per image")
    return [
        MetricColumn(nfe, _nfe_text, evaluations),
        MetricColumn(
            Column("seconds", 7), lambda m: _cost(m, "seconds", ".0f"), lambda m: m.get("seconds")
        ),
    ]


def evaluations(metrics: Mapping[str, Any]) -> float | None:
    """U-Net evaluations per image, forward and backward; None where they are not recorded."""
    if "nfe_forward" not in metrics:
        return None
    return float(metrics["nfe_forward"]) + float(metrics.get("nfe_backward") or 0)


def _nfe_text(metrics: Mapping[str, Any]) -> str:
    """'14.98', or '10 + 10' where there are backward ones."""
    backward = metrics.get("nfe_backward")
    behind = f" + {backward:.4g}" if backward else ""
    return _cost(metrics, "nfe_forward", ".4g") + behind


def _cost(metrics: Mapping[str, Any], name: str, form: str) -> str:
    return format(metrics[name], form) if name in metrics else ""


def _column(name: str, metric: Metric) -> MetricColumn:
    return MetricColumn(
        Column(metric.label, metric.drop_rank, footnote=metric.footnote),
        lambda metrics: metric_text(metrics, name),
        lambda metrics: registry.value(metrics, name),
        metric.higher_is_better,
    )


def metric_text(metrics: Mapping[str, Any], name: str) -> str:
    """A metric as a table shows it: '0.812 [0.78, 0.84]', '0.800 (0.528)', '20', '-' or 'n/a'.

    A star where fewer than 10 false positives are allowed. Nothing where the file does not have it.
    """
    metric, stored = METRICS[name], registry.entry(metrics, name)
    if metric.interval:
        if not isinstance(stored, Mapping):
            return ""
        coarse = stored.get("low_resolution") and stored.get("value") is not None
        return interval(stored, metric.digits) + ("*" if coarse else "")
    if stored is None:
        return "-" if metric.path[0] in metrics else ""
    reference = registry.value(metrics, metric.parentheses) if metric.parentheses else None
    text = f"{stored:.{metric.digits}f}"
    return text if reference is None else f"{text} ({reference:.{metric.digits}f})"
