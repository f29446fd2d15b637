"""From runs to `index.html`, tables and figures in one folder.

The page is one file that asks no network: style, script, charts and pictures lie in it. Its content
security policy names the hash of its own script, so that nothing a caption or a name brings along
could run even if an escape were forgotten.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mia_bench.display.metric_columns import MetricColumn, cost_columns, metric_columns
from mia_bench.display.page_template import page_templates
from mia_bench.display.svg.style import dash_rules, standalone
from mia_bench.metrics.registry import Shown
from mia_bench.report import controls, figures, pairs, tables
from mia_bench.report.attachments import Evidence
from mia_bench.report.figures import Figure
from mia_bench.report.load import Problem, RunResult
from mia_bench.report.summary import ModelCard
from mia_bench.storage import layout
from mia_bench.utils.text import p_text

TEMPLATE = Path(__file__).parent / "template"
ABOUT_COLUMNS = ("access", "model", "data", "mitigation")
SHOWN_PROBLEMS = 40
OLD_PROGRAMS = {
    "__main__.py": ["python", "-m", "mia_bench"],
    **{
        f"{module}.py": ["python", "-m", f"mia_bench.{module}"]
        for module in ("seeds", "mitigation_study", "trajectory")
    },
    "beside.py": ["unknown"],  # a worker process, which did not know the command of its run
}
"""How manifests of earlier versions begin a command: with the name of a file."""
DETAILED = 300  # runs with a manifest of their own on the page; beyond that, the shared lines alone


@dataclass(frozen=True)
class TableRow:
    """A line of the leaderboard: texts of `tables.row`, and what sorts and filters them."""

    anchor: str
    run: RunResult
    texts: Mapping[str, str]
    sort: Mapping[str, float]
    bar: Markup
    published: tuple[controls.Published, ...]
    flags: tuple[str, ...]
    suspect: bool
    paper: str | None
    """arXiv id of the attack's paper."""


@dataclass(frozen=True)
class LeaderboardColumn:
    """A column of the page's leaderboard, and how a click on it sorts."""

    name: str
    numeric: bool = False
    higher_first: bool = False
    sortable: bool = True


@dataclass(frozen=True)
class Report:
    """Everything the template shows."""

    name: str
    title: str
    sentence: str
    created: str
    cards: list[ModelCard]
    rows: list[TableRow]
    families: list[controls.Family]
    problems: list[Problem]
    spreads: list[tables.Spread]
    compared: list[controls.Comparison]
    pairs: pairs.RunPairs
    roc: list[Figure]
    histograms: list[Figure]
    costs: list[Figure]
    trajectories: list[Figure]
    losses: list[Figure]
    utility: list[Figure]
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
    def suspects(self) -> list[controls.Family]:
        return [family for family in self.families if family.flagged]

    @property
    def uncontrolled(self) -> list[controls.Family]:
        return [family for family in self.families if not family.controls]

    @property
    def metrics(self) -> list[MetricColumn]:
        """Columns of metrics; the first one has the bar of its interval."""
        return metric_columns(Shown.EVERYWHERE)

    @property
    def cost_columns(self) -> list[MetricColumn]:
        """Columns of costs."""
        return cost_columns()

    @property
    def columns(self) -> list[LeaderboardColumn]:
        """Of the leaderboard; published figures have one where there are any."""
        figures = [LeaderboardColumn(c.heading, True, c.higher_first) for c in self.metrics]
        published = [LeaderboardColumn("published", sortable=False)]
        return [
            LeaderboardColumn("attack"),
            *figures,
            *(published if self.has_published else ()),
            *(LeaderboardColumn(c.heading, True) for c in self.cost_columns),
            *(LeaderboardColumn(name) for name in ABOUT_COLUMNS),
            *(LeaderboardColumn(name, True) for name in ("step", "seed")),
        ]

    @cached_property
    def has_published(self) -> bool:
        return any(row.published for row in self.rows)

    def options(self, name: str) -> list[str]:
        return sorted({str(getattr(row.run, name)) for row in self.rows})


def page_style() -> Markup:
    """The style sheet of a page, with the dashes that its charts draw."""
    sheet = (TEMPLATE / "page.css").read_text(encoding="utf-8")
    return Markup("\n".join([sheet, *dash_rules()]))


def render(report: Report) -> str:
    """The page as text."""
    script = (TEMPLATE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = page_templates(TEMPLATE)
    environment.filters["command"] = command
    environment.filters["yaml"] = _yaml
    environment.filters["p_text"] = p_text
    environment.filters["step"] = figures.step_words
    environment.filters["difference"] = pairs.difference_text
    page: str = environment.get_template("index.html.j2").render(
        report=report,
        style=page_style(),
        script=Markup(script),
        script_hash=digest,
        notes=tables.notes([row.run for row in report.rows]),
        detailed=DETAILED,
        shown_problems=SHOWN_PROBLEMS,
        limit=figures.MAX_TARGETS,
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
    runs = [row.run for row in report.rows]
    (folder / "table.csv").write_text(tables.as_csv(runs), encoding="utf-8")
    (folder / "table.md").write_text(tables.as_markdown(runs, report.name), encoding="utf-8")
    (folder / "table.tex").write_text(tables.as_latex(runs, report.name), encoding="utf-8")
    page = folder / layout.PAGE_FILE
    page.write_text(render(report), encoding="utf-8")
    return page


def command(manifest: Mapping[str, Any]) -> str:
    """The command of a manifest, as one would type it."""
    words = [str(word) for word in manifest.get("command") or ["unknown"]]
    return shlex.join([*OLD_PROGRAMS.get(words[0], [words[0]]), *words[1:]])


def _yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100))
