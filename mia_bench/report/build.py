"""From runs to everything the page shows: rows, figures, pictures, verdicts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from mia_bench.metrics import registry
from mia_bench.report import attachments, controls, figures, pairs, summary, tables
from mia_bench.report.attachments import Evidence, Utility
from mia_bench.report.figures import Figure, PlottedTarget
from mia_bench.report.html import Report, TableRow
from mia_bench.report.load import Problem, RunResult
from mia_bench.storage import layout

DRAWN_SOURCES = ("openmoji", "openclipart", "tuxpaint")


def build(
    name: str, runs: Sequence[RunResult], problems: Sequence[Problem], intervals: bool = True
) -> Report:
    """Gather what is shown of one run or more."""
    runs = tables.ordered(runs)
    all_problems = list(problems)
    series, targets = figures.series_of(runs), figures.targets_of(runs)
    shown = targets[: figures.MAX_TARGETS]
    utility = _utility(targets, all_problems)
    album = attachments.Album()
    families = controls.families(runs)
    suspect = {(f.data, f.split, f.seed) for f in families if f.flagged}
    rows = [_row(i, run, run.rows in suspect, all_problems) for i, run in enumerate(runs)]
    by_data = _grouped(runs)
    cards = _cards(shown, utility, album, all_problems)
    return Report(
        name=name,
        title=summary.title(runs),
        sentence=summary.sentence(runs, families),
        cards=cards,
        created=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        rows=rows,
        families=families,
        spreads=tables.over_seeds(runs),
        compared=_compared(runs, all_problems),
        pairs=pairs.pairs_of(targets, all_problems),
        roc=[figures.roc_figure(t, series, f"roc-{i + 1}") for i, t in enumerate(shown)],
        histograms=[
            figures.histogram_figure(run, f"scores-{i + 1}")
            for i, run in enumerate(_spread_over(shown, figures.MAX_HISTOGRAMS))
        ],
        costs=[
            figures.cost_figure(
                _plain(_last(same)), series, f"AUC per query: {where}", f"nfe-{i + 1}"
            )
            for i, (where, same) in enumerate(by_data.items())
        ][: figures.MAX_TARGETS],
        trajectories=_trajectories(runs, series),
        losses=_losses(shown, all_problems),
        utility=_utility_figures(by_data, utility, series),
        evidence=_evidence(runs, album, all_problems),
        problems=all_problems,
        licences=attachments.licences(runs),
        drawn=sorted({c.data for c in runs if c.data.startswith(DRAWN_SOURCES)}),
        bundled=any(str(c.config["model"].get("path", "")).startswith("bundled:") for c in runs),
        targets=len(targets),
        intervals=intervals,
    )


def _row(i: int, run: RunResult, suspect: bool, problems: list[Problem]) -> TableRow:
    texts = dict(zip(tables.headings(), tables.row(run), strict=True))
    published, unusable = controls.published(run)
    problems += unusable
    numbers = {column.heading: column.number(run.metrics) for column in tables.figure_columns()}
    numbers |= {"seed": run.seed, "step": figures.step_of(run)}
    sort = {name: float(number) for name, number in numbers.items() if number is not None}
    bar = interval_bar(registry.entry(run.metrics, "auroc"))
    flags = tuple(tables.notable(run))
    paper = summary.arxiv_id(run)
    return TableRow(f"run-{i + 1}", run, texts, sort, bar, tuple(published), flags, suspect, paper)


def _compared(runs: Sequence[RunResult], problems: list[Problem]) -> list[controls.Comparison]:
    compared, wrong = controls.compared(runs)
    problems += wrong
    return compared


BAR_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def interval_bar(entry: Mapping[str, Any]) -> Markup:
    """An interval on the axis from 0 to 1, the same in every row: nothing lies outside of it."""

    def x(value: float) -> float:
        return round(4 + 132 * value, 1)

    span = ""
    if entry.get("lo") is not None:
        span = f'<path class="ci" d="M{x(entry["lo"])},6H{x(entry["hi"])}"/>'
    axis = "".join(f'<path class="tick" d="M{x(tick)},9V12"/>' for tick in BAR_TICKS)
    chance = f'{axis}<path class="chance" d="M{x(0.5)},0V12"/>'
    dot = f'<circle cx="{x(entry["value"])}" cy="6" r="3"/>'
    return Markup(
        f'<svg class="bar" viewBox="0 0 140 12" aria-hidden="true">{chance}{span}{dot}</svg>'
    )


def _grouped(runs: Iterable[RunResult]) -> dict[str, list[RunResult]]:
    groups: dict[str, list[RunResult]] = defaultdict(list)
    for run in runs:
        groups[f"{run.model} on {run.data}"].append(run)
    return groups


def _last(runs: Sequence[RunResult]) -> list[RunResult]:
    """Those at the latest step of their model: earlier ones are for trajectories."""
    latest: dict[str, int] = {}
    for run in runs:
        latest[run.model_key] = max(latest.get(run.model_key, 0), figures.step_of(run))
    return [run for run in runs if figures.step_of(run) == latest[run.model_key]]


def _plain(runs: Sequence[RunResult]) -> list[RunResult]:
    """Those without mitigation, where there are any: with several, points hide each other."""
    return [run for run in runs if run.mitigation == "none"] or list(runs)


def _spread_over(targets: Sequence[PlottedTarget], most: int) -> list[RunResult]:
    """The best runs of every target in turn, so that no target takes all the room."""
    longest = max((len(t.runs) for t in targets), default=0)
    picked = [t.runs[i] for i in range(longest) for t in targets if i < len(t.runs)]
    return picked[:most]


def _trajectories(runs: Sequence[RunResult], series: Mapping[str, int]) -> list[Figure]:
    by_model: dict[str, list[RunResult]] = defaultdict(list)
    for run in runs:
        if layout.is_step_number(run.step):
            by_model[run.model_key].append(run)
    moved = [same for same in by_model.values() if len({c.step for c in same}) > 1]
    moved.sort(key=lambda same: -len({c.step for c in same}))
    return [
        figures.trajectory_figure(same, series, f"trajectory-{i + 1}-{metric}", metric)
        for i, same in enumerate(moved[: figures.MAX_TRAJECTORIES])
        for metric in ("auroc", "tpr")
    ]


def _losses(targets: Sequence[PlottedTarget], problems: list[Problem]) -> list[Figure]:
    drawn: list[Figure] = []
    models = {t.first.model_key: t.first for t in reversed(targets)}
    for run in reversed(models.values()):
        training = attachments.read_training(run.ref.outputs, run.model_key)
        if isinstance(training, Problem):
            problems.append(training)
        elif training is not None:
            what = f"{run.model} on {run.data}, {figures.defence(run)}, seed {run.seed}"
            title = f"Losses: {what}"
            drawn.append(figures.loss_figure(training, title, f"loss-{len(drawn) + 1}"))
    return drawn[: figures.MAX_TRAJECTORIES]


def _utility(
    targets: Sequence[PlottedTarget], problems: list[Problem]
) -> dict[tuple[str, str], attachments.Utility]:
    utilities = {}
    for target in targets:
        run = target.first
        utility = attachments.read_utility(run.ref.outputs, *run.target)
        if isinstance(utility, Problem):
            problems.append(utility)
        elif utility is not None:
            utilities[run.target] = utility
    return utilities


def _utility_figures(
    by_data: Mapping[str, list[RunResult]],
    utility: Mapping[tuple[str, str], Utility],
    series: Mapping[str, int],
) -> list[Figure]:
    drawn = [
        figures.utility_figure(same, utility, measure, series, f"utility-{i + 1}-{measure}")
        for i, same in enumerate(by_data.values())
        for measure in figures.UTILITIES
    ]
    return [figure for figure in drawn if figure is not None][: figures.MAX_TARGETS]


def _cards(
    targets: Sequence[PlottedTarget],
    utility: Mapping[tuple[str, str], Utility],
    album: attachments.Album,
    problems: list[Problem],
) -> list[summary.ModelCard]:
    """A card for each target, with its samples where the page has room for them."""
    cards = []
    for target in targets:
        run = target.first
        training = attachments.read_training(run.ref.outputs, run.model_key)
        history = training if isinstance(training, attachments.Training) else None
        measured = utility.get(run.target)
        card = summary.model_card(target, history, measured)
        picture = album.add(measured.samples) if measured and measured.samples else None
        if isinstance(picture, Problem):
            problems.append(picture)
            picture = None
        cards.append(replace(card, samples=picture))
    return cards


def _evidence(
    runs: Sequence[RunResult], album: attachments.Album, problems: list[Problem]
) -> list[Evidence]:
    shown = []
    for run in sorted(runs, key=lambda c: -figures.value(c)):
        evidence, wrong = attachments.read_evidence(run, album)
        problems += wrong
        if evidence is not None and evidence.strips:
            shown.append(evidence)
    return shown
