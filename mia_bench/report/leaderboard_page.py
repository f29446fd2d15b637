"""A leaderboard as one static HTML page: what is measured, and beside it what papers publish."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from mia_bench.display.metric_columns import metric_columns
from mia_bench.display.page_template import page_templates
from mia_bench.evaluation.leaderboard_entries import Entry
from mia_bench.metrics.registry import METRICS, Shown
from mia_bench.report.html import TEMPLATE, page_style
from mia_bench.storage import layout

WEB = re.compile(r"https://[\w.-]+(/[\w./~%?=&#+-]*)?")
"""What becomes a link: everything else stays text."""


def grouped(entries: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """Entries that may be compared: one target, data set and split; in the order given."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        card = entry.card
        groups.setdefault(f"{card.target} on {card.data}\n{card.split}", []).append(entry)
    return [(name.split("\n")[0], same) for name, same in groups.items()]


def render(entries: Sequence[Entry], problems: Sequence[str]) -> str:
    """The page as text."""
    environment = page_templates(TEMPLATE)
    environment.tests["web"] = lambda text: bool(text and WEB.fullmatch(text))
    page: str = environment.get_template("leaderboard.html.j2").render(
        groups=grouped(entries),
        problems=problems,
        columns=metric_columns(Shown.RUN_TABLES),
        labels={name: metric.label for name, metric in METRICS.items()},
        style=page_style(),
        created=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    )
    return page


def write(folder: Path, entries: Sequence[Entry], problems: Sequence[str]) -> Path:
    """index.html in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / layout.PAGE_FILE
    page.write_text(render(entries, problems), encoding="utf-8")
    return page
