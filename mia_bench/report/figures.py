"""The figures of a report. Each attack keeps its colour on the whole page."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mia_bench.display.charts import Curve, histogram_chart, roc_chart
from mia_bench.display.svg import SHAPES, Axis, Key, Plane, decades, linear, padded
from mia_bench.report.attachments import Training, Utility
from mia_bench.report.load import RunResult

MAX_TARGETS = 12  # targets whose ROC curves are drawn
MAX_HISTOGRAMS = 16
MAX_TRAJECTORIES = 6
MAX_CURVES = 14  # curves on one plane: beyond that nobody tells them apart

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
        step = "" if one.step == "base" else f", step {one.step}"
        return f"{one.model} on {one.data}, {defence(one)}, seed {one.seed}{step}"


def series_of(runs: Sequence[RunResult]) -> dict[str, int]:
    return {name: i for i, name in enumerate(sorted({run.attack for run in runs}))}


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
    ordered = sorted(groups.items())
    return [group[i] for i in range(rounds) for _, group in ordered if i < len(group)]


def defence(run: RunResult) -> str:
    return "no mitigation" if run.mitigation == "none" else run.mitigation


def value(run: RunResult) -> float:
    return float(run.metrics["auroc"]["value"])


def step_of(run: RunResult) -> int:
    return int(run.step) if run.step.isdigit() else 0


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
    return Figure(name, roc_chart(curves, target.title), caption)


def histogram_figure(run: RunResult, name: str) -> Figure:
    """Scores of one run, and where its calibrated threshold lies."""
    return Figure(
        name, histogram_chart(run.histogram, f"{run.attack}: {PlottedTarget((run,)).title}")
    )


def cost_figure(runs: Sequence[RunResult], series: Series, title: str, name: str) -> Figure:
    """AUC against U-Net evaluations per image, backward ones counted as well."""
    cost = {id(c): max(1.0, cost_of(c.metrics)) for c in runs}
    x = decades(min(cost.values()), max(cost.values()), "U-Net evaluations per image (NFE)")
    plane = Plane(x, auc_axis(runs))
    marks = [plane.rule(y=0.5)]
    for run in runs:
        entry, s = run.metrics["auroc"], series[run.attack]
        if entry["lo"] is not None:
            marks.append(plane.whisker(cost[id(run)], entry["lo"], entry["hi"], s))
        marks.append(plane.dot(cost[id(run)], entry["value"], s, label(run)))
    return Figure(name, plane.draw(title, marks, attack_keys(runs, series, "circle")))


def cost_of(metrics: Mapping[str, Any]) -> float:
    """U-Net evaluations per image, forward and backward."""
    return float(metrics["nfe_forward"]) + float(metrics.get("nfe_backward") or 0)


def trajectory_figure(
    runs: Sequence[RunResult], series: Series, name: str, metric: str = "auroc"
) -> Figure:
    """A metric of every attack over the steps of one fine-tune, with its interval as a band."""
    entries: dict[int, Mapping[str, Any]] = {
        id(c): c.metrics["auroc"] if metric == "auroc" else at_one(c) for c in runs
    }
    shown = [c for c in runs if entries[id(c)]["value"] is not None]
    steps = [step_of(c) for c in runs]
    x = linear(min(steps), max(steps), "training step")
    y = auc_axis(runs) if metric == "auroc" else _from_zero(entries.values())
    plane = Plane(x, y)
    marks = [plane.rule(y=0.5)] if metric == "auroc" else []
    for attack in dict.fromkeys(c.attack for c in shown):
        mine = sorted((c for c in shown if c.attack == attack), key=step_of)
        s = series[attack]
        middle, low, high = ([(step_of(c), entries[id(c)][e]) for c in mine] for e in ENDS)
        if all(bound is not None for _, bound in low) and len(low) > 1:
            marks.append(plane.band(low, high, s))
        marks.append(plane.line(middle, s))
        marks += [plane.dot(t, v, s, f"{attack}, step {t}") for t, v in middle]
    what = "AUC" if metric == "auroc" else "TPR at 1 % FPR"
    one = runs[0]
    title = f"{what} over training: {one.model} on {one.data}, {defence(one)}, seed {one.seed}"
    return Figure(name, plane.draw(title, marks, attack_keys(shown, series, "line")))


def loss_figure(training: Training, title: str, name: str) -> Figure:
    """Losses of fine-tuning: the gap between members and held-out rows is what attacks live on."""
    every = [v for values in training.losses.values() for v in values if v > 0]
    plane = Plane(
        linear(min(training.steps), max(training.steps), "training step"),
        padded(every or [0.0], "denoising loss"),
        height=250,
    )
    marks, keys = [], []
    for i, (loss, values) in enumerate(training.losses.items()):
        points = [(s, v) for s, v in zip(training.steps, values, strict=True) if v > 0]
        loss_name = loss.removeprefix("val_").replace("heldout", "held-out").replace("_", " ")
        marks.append(plane.line(points, i))
        marks += [plane.dot(s, v, i, f"{loss_name} {v:.4g} at {s:.0f}") for s, v in points]
        keys.append(Key(loss_name, i))
    caption = (
        "Member and held-out losses are on fixed timesteps and noise, the train loss is a running "
        "mean over random ones."
    )
    return Figure(name, plane.draw(title, marks, keys), caption)


def utility_figure(
    runs: Sequence[RunResult],
    utility: Mapping[tuple[str, str], Utility],
    measure: str,
    series: Series,
    name: str,
) -> Figure | None:
    """AUC against what the defence costs: colour is the attack, shape the mitigation."""
    shown = [c for c in runs if measure in utility.get(c.target, _NONE).values]
    if not shown:
        return None
    cost = {id(c): utility[c.target].values[measure] for c in shown}
    plane = Plane(padded(cost.values(), f"{UTILITIES[measure]} (lower is better)"), auc_axis(shown))
    kinds = sorted({c.mitigation for c in shown})
    shape = {kind: SHAPES[i % len(SHAPES)] for i, kind in enumerate(kinds)}
    marks = [plane.rule(y=0.5)]
    for run in shown:
        point_label = f"{label(run)}, {run.mitigation}, {measure} {cost[id(run)]:.4g}"
        s = series[run.attack]
        marks.append(plane.dot(cost[id(run)], value(run), s, point_label, shape[run.mitigation]))
    keys = attack_keys(shown, series, "box") + [Key(k, 6, shape[k]) for k in kinds]
    title = f"Privacy and utility: {shown[0].model} on {shown[0].data}"
    used = {utility[c.target].features for c in shown} - {""}
    features = f" Features: {', '.join(sorted(used))}." if measure == "frechet" and used else ""
    caption = f"Towards the lower left: less is leaked and less is lost.{features}"
    return Figure(name, plane.draw(title, marks, keys), caption)


_NONE = Utility({}, "", None)


def at_one(run: RunResult) -> Mapping[str, float | None]:
    entry: Mapping[str, float | None] = run.metrics["tpr_at_fpr"]["0.01"]
    return entry


def label(run: RunResult) -> str:
    return f"{run.attack} {value(run):.3f}, seed {run.seed}, step {run.step}"


def attack_keys(runs: Sequence[RunResult], series: Series, kind: str) -> list[Key]:
    names = sorted({run.attack for run in runs}, key=lambda name: series[name])
    return [Key(name, series[name], kind) for name in names]


def auc_axis(runs: Iterable[RunResult]) -> Axis:
    """From a little below the lowest interval, chance included, to 1."""
    ends = [c.metrics["auroc"]["lo"] or value(c) for c in runs]
    lowest = min([0.5, *ends])
    return linear(math.floor((lowest - 0.02) * 20) / 20, 1.0, "AUC")


def _from_zero(entries: Iterable[Mapping[str, float | None]]) -> Axis:
    tops = [entry["hi"] or entry["value"] or 0.0 for entry in entries]
    return linear(0.0, min(1.0, max([0.02, *tops]) * 1.08), "TPR at 1 % FPR")
