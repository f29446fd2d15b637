"""From cells to `index.html`, tables and figures in one folder.

The page is one file that asks no network: style, script, charts and pictures lie in it. Its content
security policy names the hash of its own script, so that nothing a caption or a name brings along
could run even if an escape were forgotten.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mia_bench.report import beside, figures, tables, verdicts
from mia_bench.report.beside import Evidence, Utility
from mia_bench.report.chart import standalone
from mia_bench.report.figures import Figure, Target
from mia_bench.report.read import Cell, Problem

PARTS = Path(__file__).parent / "page"
COLUMNS = (
    *("attack", "AUC", "TPR@1%FPR", "ASR calibrated", "published", "NFE", "seconds", "set"),
    *("access", "model", "data", "mitigation", "step", "seed"),
)
DRAWN = ("openmoji", "openclipart", "tuxpaint")
SHOWN_PROBLEMS = 40
DETAILED = 300  # runs with a manifest of their own on the page; beyond that, the shared lines alone


@dataclass(frozen=True)
class Row:
    """A line of the leaderboard: texts of `tables.row`, and what sorts and filters them."""

    anchor: str
    cell: Cell
    texts: Mapping[str, str]
    sort: Mapping[str, float]
    bar: Markup
    published: tuple[verdicts.Published, ...]
    flags: tuple[str, ...]
    suspect: bool


@dataclass(frozen=True)
class Samples:
    """A grid of generated images."""

    title: str
    picture: str


@dataclass(frozen=True)
class Report:
    """Everything the template shows."""

    name: str
    created: str
    rows: list[Row]
    families: list[verdicts.Family]
    problems: list[Problem]
    spreads: list[tables.Spread]
    roc: list[Figure]
    histograms: list[Figure]
    costs: list[Figure]
    trajectories: list[Figure]
    losses: list[Figure]
    utility: list[Figure]
    samples: list[Samples]
    evidence: list[Evidence]
    licences: Mapping[str, str]
    drawn: list[str]
    bundled: bool
    targets: int
    intervals: bool
    """Drawn again for this report; otherwise the stored bounds are shown."""

    @property
    def figures(self) -> list[Figure]:
        every = (self.roc, self.costs, self.histograms, self.trajectories, self.losses)
        return [figure for some in (*every, self.utility) for figure in some]

    @property
    def suspects(self) -> list[verdicts.Family]:
        return [family for family in self.families if family.flagged]

    @property
    def uncontrolled(self) -> list[verdicts.Family]:
        return [family for family in self.families if not family.controls]

    @property
    def columns(self) -> list[str]:
        """Of the leaderboard; published figures have one where there are any."""
        columns = list(COLUMNS)
        if not any(row.published for row in self.rows):
            columns.remove("published")
        return columns

    def options(self, name: str) -> list[str]:
        return sorted({str(getattr(row.cell, name)) for row in self.rows})


def build(
    name: str, cells: Sequence[Cell], problems: Sequence[Problem], intervals: bool = True
) -> Report:
    """Gather what is shown. `cells` may not be empty."""
    cells = tables.ordered(cells)
    found = list(problems)
    series, targets = figures.series_of(cells), figures.targets_of(cells)
    shown = targets[: figures.TARGETS]
    utility = _utility(targets, found)
    album = beside.Album()
    judged = verdicts.families(cells)
    suspect = {(f.data, f.split, f.seed) for f in judged if f.flagged}
    rows = [_row(i, cell, cell.rows in suspect, found) for i, cell in enumerate(cells)]
    by_data = _grouped(cells)
    return Report(
        name=name,
        created=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        rows=rows,
        families=judged,
        spreads=tables.over_seeds(cells),
        roc=[figures.roc_figure(t, series, f"roc-{i + 1}") for i, t in enumerate(shown)],
        histograms=[
            figures.histogram_figure(cell, f"scores-{i + 1}")
            for i, cell in enumerate(_spread_over(shown, figures.HISTOGRAMS))
        ],
        costs=[
            figures.cost_figure(same, series, f"AUC per query: {where}", f"nfe-{i + 1}")
            for i, (where, same) in enumerate(by_data.items())
        ][: figures.TARGETS],
        trajectories=_trajectories(cells, series),
        losses=_losses(shown, found),
        utility=_utility_figures(by_data, utility, series),
        samples=_samples(targets, utility, album, found),
        evidence=_evidence(cells, album, found),
        problems=found,
        licences=beside.licences(cells),
        drawn=sorted({c.data for c in cells if c.data.startswith(DRAWN)}),
        bundled=any(str(c.config["model"].get("path", "")).startswith("bundled:") for c in cells),
        targets=len(targets),
        intervals=intervals,
    )


def render(report: Report) -> str:
    """The page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    script = (PARTS / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(PARTS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["command"] = command
    environment.filters["yaml"] = _yaml
    page: str = environment.get_template("index.html.j2").render(
        report=report,
        style=Markup((PARTS / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        note=tables.NOTE,
        detailed=DETAILED,
        shown_problems=SHOWN_PROBLEMS,
        limit=figures.TARGETS,
    )
    return page


def write(report: Report, folder: Path) -> Path:
    """index.html, table.{csv,md,tex} and figures/*.svg under `folder`; earlier figures go."""
    pictures = folder / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.svg"):
        old.unlink()
    for figure in report.figures:
        (pictures / f"{figure.name}.svg").write_text(standalone(figure.chart), encoding="utf-8")
    cells = [row.cell for row in report.rows]
    (folder / "table.csv").write_text(tables.as_csv(cells), encoding="utf-8")
    (folder / "table.md").write_text(tables.as_markdown(cells, report.name), encoding="utf-8")
    (folder / "table.tex").write_text(tables.as_latex(cells, report.name), encoding="utf-8")
    page = folder / "index.html"
    page.write_text(render(report), encoding="utf-8")
    return page


def command(manifest: Mapping[str, Any]) -> str:
    """The command of a manifest, as one would type it."""
    words = [str(word) for word in manifest.get("command") or ["unknown"]]
    program, rest = words[0], words[1:]
    module = "mia_bench" if program == "__main__.py" else f"mia_bench.{Path(program).stem}"
    if program.endswith(".py") and not program.startswith("test"):
        return shlex.join(["python", "-m", module, *rest])
    return shlex.join(words)


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100))


def _row(i: int, cell: Cell, suspect: bool, problems: list[Problem]) -> Row:
    texts = dict(zip(tables.HEADINGS, tables.row(cell), strict=True))
    said, wrong = verdicts.published(cell)
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
        training = beside.read_training(cell.outputs, cell.model_key)
        if isinstance(training, Problem):
            problems.append(training)
        elif training is not None:
            said = f"{cell.model} on {cell.data}, {figures.defence(cell)}, seed {cell.seed}"
            title = f"Losses: {said}"
            drawn.append(figures.loss_figure(training, title, f"loss-{len(drawn) + 1}"))
    return drawn[: figures.TRAJECTORIES]


def _utility(
    targets: Sequence[Target], problems: list[Problem]
) -> dict[tuple[str, str], beside.Utility]:
    found = {}
    for target in targets:
        cell = target.first
        utility = beside.read_utility(cell.outputs, *cell.target)
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
    album: beside.Album,
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
    cells: Sequence[Cell], album: beside.Album, problems: list[Problem]
) -> list[Evidence]:
    shown = []
    for cell in sorted(cells, key=lambda c: -figures.value(c)):
        evidence, wrong = beside.read_evidence(cell, album)
        problems += wrong
        if evidence is not None and evidence.strips:
            shown.append(evidence)
    return shown
