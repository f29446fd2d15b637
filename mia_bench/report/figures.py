"""The figures of a report. Each attack has its colour, dash and marker, as everywhere."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mia_bench.display.attack_style import marker_shape, series_number
from mia_bench.display.charts import READ_RATES, Curve, histogram_chart, readings, roc_chart
from mia_bench.display.metric_columns import evaluations
from mia_bench.display.svg.axes import Axis, decades, linear, padded
from mia_bench.display.svg.plane import Plane, panels
from mia_bench.report.attachments import Training, Utility
from mia_bench.report.load import RunResult
from mia_bench.storage import layout

MAX_TARGETS = 12  # targets whose ROC curves are drawn
MAX_HISTOGRAMS = 16
MAX_TRAJECTORIES = 6
MAX_CURVES = 14  # curves on one plane: beyond that nobody tells them apart

PANEL_WIDTH, PANEL_HEIGHT = 300, 230  # pixels of a small multiple
PANEL_COLUMNS = 2
ENDS = ("value", "lo", "hi")

Series = Mapping[str, int]
UTILITIES = {
    "frechet": "Fréchet distance of generated images",
    "heldout_loss": "held-out denoising loss",
}


@dataclass(frozen=True)
class Figure:
    """A chart, the stem of its file, and what a reader should know."""

    name: str
    chart: Markup
    caption: str = ""
    headings: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    """What a pointer reads on the chart, as a table of texts for whoever has none."""


@dataclass(frozen=True)
class PlottedTarget:
    """Cells that attack the same model at the same step, best first."""

    runs: tuple[RunResult, ...]

    @property
    def first(self) -> RunResult:
        return self.runs[0]

    @property
    def title(self) -> str:
        one = self.first
        return f"{one.model} on {one.data}, {defence(one)}, seed {one.seed}, {step_words(one)}"


def series_of(runs: Sequence[RunResult]) -> dict[str, int]:
    return {name: series_number(name) for name in sorted({run.attack for run in runs})}


def targets_of(runs: Sequence[RunResult]) -> list[PlottedTarget]:
    """Targets, those that differ most first: one of every (model, data, mitigation), then others.

    Within such a group the target with most attacks, at the latest step, comes first.
    """
    by_target: dict[tuple[str, str], list[RunResult]] = defaultdict(list)
    for run in runs:
        by_target[run.target].append(run)
    groups: dict[tuple[str, str, str], list[PlottedTarget]] = defaultdict(list)
    for same in by_target.values():
        target = PlottedTarget(tuple(sorted(same, key=lambda c: -value(c))))
        groups[(same[0].model, same[0].data, same[0].mitigation)].append(target)
    for group in groups.values():
        group.sort(key=lambda t: (-len(t.runs), -step_of(t.first), t.first.seed))
    rounds = max(map(len, groups.values()), default=0)
    ordered = sorted(groups.items(), key=lambda named: _plain_first(*named[0]))
    return [group[i] for i in range(rounds) for _, group in ordered if i < len(group)]


def _plain_first(model: str, data: str, mitigation: str) -> tuple[str, str, bool, str]:
    return model, data, mitigation != "none", mitigation


def defence(run: RunResult) -> str:
    return "no mitigation" if run.mitigation == "none" else run.mitigation


def value(run: RunResult) -> float:
    return float(run.metrics["auroc"]["value"])


def step_text(run: RunResult) -> str:
    """The step of fine-tuning, or that the model was attacked as it was given."""
    return layout.step_words(run.step)


def step_words(run: RunResult) -> str:
    """'step 300', or 'as given'."""
    return f"step {run.step}" if layout.is_step_number(run.step) else step_text(run)


def step_of(run: RunResult) -> int:
    return layout.step_number(run.step)


def roc_figure(target: PlottedTarget, series: Series, name: str) -> Figure:
    """ROC curves of one target."""
    shown = target.runs[:MAX_CURVES]
    curves = [Curve(c.attack, c.roc, value(c), series[c.attack]) for c in shown]
    hidden = len(target.runs) - len(shown)
    least = 1 / target.first.metrics["n_nonmembers"]
    caption = (
        f"Legend: AUC. One non-member is a false positive rate of {least:.2g}; the dotted line is "
        "chance."
    )
    caption += f" The {hidden} weakest attacks are left out." if hidden else ""
    headings = ("attack", *(f"TPR at FPR {rate:g}" for rate in READ_RATES))
    values = tuple((curve.name, *_rates_of(curve)) for curve in curves)
    return Figure(name, roc_chart(curves, target.title), caption, headings, values)


def _rates_of(curve: Curve) -> Iterable[str]:
    read = dict(readings(curve.roc))
    return (f"{read[rate]:.3g}" if rate in read else "n/a" for rate in READ_RATES)


def histogram_figure(run: RunResult, name: str) -> Figure:
    """Scores of one run, and where its calibrated threshold lies."""
    return Figure(
        name, histogram_chart(run.histogram, f"{run.attack}: {PlottedTarget((run,)).title}")
    )


def cost_figure(runs: Sequence[RunResult], series: Series, title: str, name: str) -> Figure:
    """AUC against U-Net evaluations per image, backward ones counted as well."""
    cost = {id(c): max(1.0, cost_of(c.metrics)) for c in runs}
    x = decades(min(cost.values()), max(cost.values()), "U-Net evaluations per image (NFE)")
    plane = Plane(x, auc_axis(runs), height=380)
    marks = [plane.rule(y=0.5)]
    for run in runs:
        entry, s = run.metrics["auroc"], series[run.attack]
        if entry["lo"] is not None:
            marks.append(plane.whisker(cost[id(run)], entry["lo"], entry["hi"], s))
        shape = marker_shape(s)
        marks.append(plane.dot(cost[id(run)], entry["value"], s, label(run), shape))
    best = {run.attack: run for run in sorted(runs, key=value)}
    named = [(cost[id(run)], value(run), attack) for attack, run in best.items()]
    marks.append(plane.point_labels(sorted(named, key=lambda point: -point[1])))
    return Figure(name, plane.draw(title, marks))


def cost_of(metrics: Mapping[str, Any]) -> float:
    """U-Net evaluations per image, forward and backward."""
    return evaluations(metrics) or 0.0


def trajectory_figure(
    runs: Sequence[RunResult], series: Series, name: str, metric: str = "auroc"
) -> Figure:
    """A metric over the steps of one fine-tune, with its interval as a band; a panel an attack."""
    entries: dict[int, Mapping[str, Any]] = {
        id(c): c.metrics["auroc"] if metric == "auroc" else at_one(c) for c in runs
    }
    shown = [c for c in runs if entries[id(c)]["value"] is not None]
    steps = [step_of(c) for c in runs]
    x = linear(min(steps), max(steps), "training step")
    y = auc_axis(runs) if metric == "auroc" else _from_zero(entries.values())
    parts = []
    for attack in dict.fromkeys(c.attack for c in sorted(shown, key=lambda c: series[c.attack])):
        plane = Plane(x, y, PANEL_WIDTH, PANEL_HEIGHT)
        marks = [plane.rule(y=0.5)] if metric == "auroc" else []
        mine = sorted((c for c in shown if c.attack == attack), key=step_of)
        s = series[attack]
        middle, low, high = ([(step_of(c), entries[id(c)][e]) for c in mine] for e in ENDS)
        if all(bound is not None for _, bound in low) and len(low) > 1:
            marks.append(plane.band(low, high, s))
        marks.append(plane.line(middle, s))
        named = f"{attack} {{:.3f}}, step {{}}".format
        marks += [plane.dot(t, v, s, named(v, t), marker_shape(s)) for t, v in middle]
        parts.append(plane.body(attack, marks))
    what = "AUC" if metric == "auroc" else "TPR at 1 % FPR"
    one = runs[0]
    title = f"{what} over training: {one.model} on {one.data}, {defence(one)}, seed {one.seed}"
    return Figure(name, panels(title, parts[:MAX_CURVES], PANEL_WIDTH, PANEL_COLUMNS))


def loss_figure(training: Training, title: str, name: str) -> Figure:
    """Losses of fine-tuning: the gap between members and held-out rows is what attacks live on."""
    every = [v for values in training.losses.values() for v in values if v > 0]
    plane = Plane(
        linear(min(training.steps), max(training.steps), "training step"),
        padded(every or [0.0], "denoising loss"),
        height=250,
        right=84,
    )
    marks, ends = [], []
    for i, (loss, values) in enumerate(training.losses.items()):
        points = [(s, v) for s, v in zip(training.steps, values, strict=True) if v > 0]
        loss_name = loss.removeprefix("val_").replace("heldout", "held-out").replace("_", " ")
        marks.append(plane.line(points, i))
        marks += [plane.dot(s, v, i, f"{loss_name} {v:.4g} at {s:.0f}") for s, v in points]
        if points:
            ends.append((points[-1][1], loss_name, i))
    caption = (
        "Member and held-out losses are on fixed timesteps and noise, the train loss is a running "
        "mean over random ones."
    )
    return Figure(name, plane.draw(title, [*marks, plane.end_labels(ends)]), caption)


def utility_figure(
    runs: Sequence[RunResult],
    utility: Mapping[tuple[str, str], Utility],
    measure: str,
    series: Series,
    name: str,
) -> Figure | None:
    """AUC against what each mitigation costs; a panel an attack, its points the mitigations."""
    shown = [c for c in runs if measure in utility.get(c.target, _NONE).values]
    if not shown:
        return None
    cost = {id(c): utility[c.target].values[measure] for c in shown}
    x, y = padded(cost.values(), UTILITIES[measure], 0.12), auc_axis(shown)
    parts = []
    for attack in dict.fromkeys(c.attack for c in sorted(shown, key=lambda c: series[c.attack])):
        plane, s = Plane(x, y, PANEL_WIDTH, PANEL_HEIGHT), series[attack]
        marks, named = [plane.rule(y=0.5)], {}
        for run in (c for c in shown if c.attack == attack):
            point_label = f"{label(run)}, {run.mitigation}, {measure} {cost[id(run)]:.4g}"
            marks.append(plane.dot(cost[id(run)], value(run), s, point_label, marker_shape(s)))
            named[run.mitigation] = cost[id(run)], value(run), run.mitigation
        parts.append(plane.body(attack, [*marks, plane.point_labels(list(named.values()))]))
    title = f"Privacy and utility: {shown[0].model} on {shown[0].data}"
    used = {utility[c.target].features for c in shown} - {""}
    features = f" Features: {', '.join(sorted(used))}." if measure == "frechet" and used else ""
    caption = f"Towards the lower left: less is leaked and less is lost.{features}"
    chart = panels(title, parts[:MAX_CURVES], PANEL_WIDTH, PANEL_COLUMNS)
    return Figure(name, chart, caption)


_NONE = Utility({}, "", None)


def at_one(run: RunResult) -> Mapping[str, float | None]:
    entry: Mapping[str, float | None] = run.metrics["tpr_at_fpr"]["0.01"]
    return entry


def label(run: RunResult) -> str:
    return f"{run.attack} {value(run):.3f}, seed {run.seed}, {step_words(run)}"


def auc_axis(runs: Iterable[RunResult]) -> Axis:
    """From a little below the lowest interval, chance included, to 1."""
    ends = [c.metrics["auroc"]["lo"] or value(c) for c in runs]
    lowest = min([0.5, *ends])
    return linear(math.floor((lowest - 0.02) * 20) / 20, 1.0, "AUC")


def _from_zero(entries: Iterable[Mapping[str, float | None]]) -> Axis:
    tops = [entry["hi"] or entry["value"] or 0.0 for entry in entries]
    return linear(0.0, min(1.0, max([0.02, *tops]) * 1.08), "TPR at 1 % FPR")
