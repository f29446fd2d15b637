"""From cells to everything the page shows: rows, figures, pictures, verdicts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mia_bench.report import attachments, controls, figures, tables
from mia_bench.report.attachments import Evidence, Utility
from mia_bench.report.figures import Figure, Target
from mia_bench.report.html import Report, Row, Samples
from mia_bench.report.load import Cell, Problem

DRAWN = ("openmoji", "openclipart", "tuxpaint")


def build(
    name: str, cells: Sequence[Cell], problems: Sequence[Problem], intervals: bool = True
) -> Report:
    """Gather what is shown. `cells` may not be empty."""
    cells = tables.ordered(cells)
    found = list(problems)
    series, targets = figures.series_of(cells), figures.targets_of(cells)
    shown = targets[: figures.TARGETS]
    utility = _utility(targets, found)
    album = attachments.Album()
    judged = controls.families(cells)
    suspect = {(f.data, f.split, f.seed) for f in judged if f.flagged}
    rows = [_row(i, cell, cell.rows in suspect, found) for i, cell in enumerate(cells)]
    by_data = _grouped(cells)
    return Report(
        name=name,
        created=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        rows=rows,
        families=judged,
        spreads=tables.over_seeds(cells),
        compared=_compared(cells, found),
        roc=[figures.roc_figure(t, series, f"roc-{i + 1}") for i, t in enumerate(shown)],
        histograms=[
            figures.histogram_figure(cell, f"scores-{i + 1}")
            for i, cell in enumerate(_spread_over(shown, figures.HISTOGRAMS))
        ],
        costs=[
            figures.cost_figure(_last(same), series, f"AUC per query: {where}", f"nfe-{i + 1}")
            for i, (where, same) in enumerate(by_data.items())
        ][: figures.TARGETS],
        trajectories=_trajectories(cells, series),
        losses=_losses(shown, found),
        utility=_utility_figures(by_data, utility, series),
        samples=_samples(targets, utility, album, found),
        evidence=_evidence(cells, album, found),
        problems=found,
        licences=attachments.licences(cells),
        drawn=sorted({c.data for c in cells if c.data.startswith(DRAWN)}),
        bundled=any(str(c.config["model"].get("path", "")).startswith("bundled:") for c in cells),
        targets=len(targets),
        intervals=intervals,
    )


def _row(i: int, cell: Cell, suspect: bool, problems: list[Problem]) -> Row:
    texts = dict(zip(tables.HEADINGS, tables.row(cell), strict=True))
    said, wrong = controls.published(cell)
    problems += wrong
    needed = (cell.metrics.get("dataset_test") or {}).get("samples_needed")
    entries = {
        "AUC": cell.metrics["auroc"]["value"],
        "TPR@1%FPR": figures.at_one(cell)["value"],
        "ASR calibrated": cell.metrics["asr"]["value"],
        "NFE": figures.cost_of(cell),
        "seconds": cell.metrics["seconds"],
        "set": needed,
        "seed": cell.seed,
        "step": figures.step_of(cell),
    }
    sort = {name: float(v) for name, v in entries.items() if v is not None}
    bar = interval_bar(cell.metrics["auroc"])
    flags = tuple(tables.notable(cell))
    return Row(f"run-{i + 1}", cell, texts, sort, bar, tuple(said), flags, suspect)


def _compared(cells: Sequence[Cell], problems: list[Problem]) -> list[controls.Comparison]:
    compared, wrong = controls.compared(cells)
    problems += wrong
    return compared


def interval_bar(entry: Mapping[str, Any], lo: float = 0.3) -> Markup:
    """An interval on [lo, 1] with chance marked; what is lower is drawn at the left end."""

    def x(value: float) -> float:
        return round(4 + 132 * (min(max(value, lo), 1.0) - lo) / (1 - lo), 1)

    span = ""
    if entry.get("lo") is not None:
        span = f'<path class="ci" d="M{x(entry["lo"])},6H{x(entry["hi"])}"/>'
    chance = f'<path class="chance" d="M{x(0.5)},0V12"/>'
    dot = f'<circle cx="{x(entry["value"])}" cy="6" r="3"/>'
    return Markup(
        f'<svg class="bar" viewBox="0 0 140 12" aria-hidden="true">{chance}{span}{dot}</svg>'
    )


def _grouped(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[f"{cell.model} on {cell.data}"].append(cell)
    return groups


def _last(cells: Sequence[Cell]) -> list[Cell]:
    """Those at the latest step of their model: earlier ones are for trajectories."""
    latest: dict[str, int] = {}
    for cell in cells:
        latest[cell.model_key] = max(latest.get(cell.model_key, 0), figures.step_of(cell))
    return [cell for cell in cells if figures.step_of(cell) == latest[cell.model_key]]


def _spread_over(targets: Sequence[Target], most: int) -> list[Cell]:
    """The best cells of every target in turn, so that no target takes all the room."""
    longest = max((len(t.cells) for t in targets), default=0)
    picked = [t.cells[i] for i in range(longest) for t in targets if i < len(t.cells)]
    return picked[:most]


def _trajectories(cells: Sequence[Cell], series: Mapping[str, int]) -> list[Figure]:
    by_model: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.step.isdigit():
            by_model[cell.model_key].append(cell)
    moved = [same for same in by_model.values() if len({c.step for c in same}) > 1]
    moved.sort(key=lambda same: -len({c.step for c in same}))
    return [
        figures.trajectory_figure(same, series, f"trajectory-{i + 1}-{metric}", metric)
        for i, same in enumerate(moved[: figures.TRAJECTORIES])
        for metric in ("auroc", "tpr")
    ]


def _losses(targets: Sequence[Target], problems: list[Problem]) -> list[Figure]:
    drawn: list[Figure] = []
    models = {t.first.model_key: t.first for t in reversed(targets)}
    for cell in reversed(models.values()):
        training = attachments.read_training(cell.outputs, cell.model_key)
        if isinstance(training, Problem):
            problems.append(training)
        elif training is not None:
            said = f"{cell.model} on {cell.data}, {figures.defence(cell)}, seed {cell.seed}"
            title = f"Losses: {said}"
            drawn.append(figures.loss_figure(training, title, f"loss-{len(drawn) + 1}"))
    return drawn[: figures.TRAJECTORIES]


def _utility(
    targets: Sequence[Target], problems: list[Problem]
) -> dict[tuple[str, str], attachments.Utility]:
    found = {}
    for target in targets:
        cell = target.first
        utility = attachments.read_utility(cell.outputs, *cell.target)
        if isinstance(utility, Problem):
            problems.append(utility)
        elif utility is not None:
            found[cell.target] = utility
    return found


def _utility_figures(
    by_data: Mapping[str, list[Cell]],
    utility: Mapping[tuple[str, str], Utility],
    series: Mapping[str, int],
) -> list[Figure]:
    drawn = [
        figures.utility_figure(same, utility, measure, series, f"utility-{i + 1}-{measure}")
        for i, same in enumerate(by_data.values())
        for measure in figures.UTILITIES
    ]
    return [figure for figure in drawn if figure is not None][: figures.TARGETS]


def _samples(
    targets: Sequence[Target],
    utility: Mapping[tuple[str, str], Utility],
    album: attachments.Album,
    problems: list[Problem],
) -> list[Samples]:
    shown = []
    for target in targets[: figures.TARGETS]:
        path = utility[target.first.target].samples if target.first.target in utility else None
        picture = album.add(path) if path else None
        if isinstance(picture, Problem):
            problems.append(picture)
        elif picture is not None:
            shown.append(Samples(target.title, picture))
    return shown


def _evidence(
    cells: Sequence[Cell], album: attachments.Album, problems: list[Problem]
) -> list[Evidence]:
    shown = []
    for cell in sorted(cells, key=lambda c: -figures.value(c)):
        evidence, wrong = attachments.read_evidence(cell, album)
        problems += wrong
        if evidence is not None and evidence.strips:
            shown.append(evidence)
    return shown
