"""The leaderboard as plain tables: CSV for machines, markdown and LaTeX for papers."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mia_bench.display.console import footnotes
from mia_bench.display.markdown_text import markdown, markdown_row
from mia_bench.display.metric_columns import MetricColumn, cost_columns, metric_columns
from mia_bench.metrics import registry
from mia_bench.metrics.registry import Shown
from mia_bench.report.figures import at_one, step_of, step_text, value
from mia_bench.report.load import RunResult
from mia_bench.utils.text import sanitise, table_cell

ABOUT = ("attack", "access", "model", "data", "mitigation", "seed", "step")
TEXT_COLUMNS = 5


def figure_columns() -> list[MetricColumn]:
    """Metrics, then costs, as on the terminal."""
    return [*metric_columns(Shown.EVERYWHERE), *cost_columns()]


def headings() -> tuple[str, ...]:
    """Of the leaderboard as text."""
    return (*ABOUT, *(column.heading for column in figure_columns()), "flags")


def notes(runs: Sequence[RunResult]) -> list[str]:
    """What a reader of the leaderboard of these runs must know."""
    columns = figure_columns()
    cells = [[column.text(run.metrics) for column in columns] for run in runs]
    return footnotes([column.column for column in columns], cells)


def ordered(runs: Sequence[RunResult]) -> list[RunResult]:
    """By data, model, mitigation (none before the others), the last step first, seed; of a target
    the best attack first."""

    def key(c: RunResult) -> tuple[object, ...]:
        target = c.data, c.model, c.mitigation != "none", c.mitigation, -step_of(c), c.seed
        return *target, -value(c), c.attack

    return sorted(runs, key=key)


def row(run: RunResult) -> tuple[str, ...]:
    """One line of text per run, in the order of `headings`."""
    return (
        *map(table_cell, (run.attack, run.access, run.model, run.data, run.mitigation)),
        *(str(run.seed), table_cell(step_text(run))),
        *(column.text(run.metrics) for column in figure_columns()),
        table_cell(" ".join(notable(run))),
    )


def notable(run: RunResult) -> list[str]:
    """Flags that put a row in doubt; coarse resolution is said by the star."""
    flags = [f for f in run.metrics["flags"] if f.startswith("control_") or f == "no_interval"]
    return [*flags, "differs_from_stored"] if run.differs else flags


def as_markdown(runs: Sequence[RunResult], title: str) -> str:
    """A table that renders on any forge; what is untrusted cannot break out of its column."""
    names = headings()
    lines = [f"# {markdown(title)}", "", markdown_row(names)]
    lines.append("|" + "---|" * TEXT_COLUMNS + "---:|" * (len(names) - TEXT_COLUMNS))
    lines += [markdown_row(row(run)) for run in runs]
    return "\n".join([*lines, "", *(f"- {markdown(note)}" for note in notes(runs)), ""])


LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def as_latex(runs: Sequence[RunResult], title: str) -> str:
    """A booktabs table; every character that LaTeX reads as a command is written out."""
    names = headings()
    columns = "l" * TEXT_COLUMNS + "r" * (len(names) - TEXT_COLUMNS - 1) + "l"
    lines = [
        r"% needs \usepackage{booktabs}",
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row(names),
        r"\midrule",
        *(_latex_row(row(run)) for run in runs),
        r"\bottomrule",
        r"\end{tabular}",
        f"% {sanitise(title)}. {' '.join(notes(runs))}",
    ]
    return "\n".join([*lines, ""])


def _latex_row(entries: Sequence[str]) -> str:
    return " & ".join(map(latex, entries)) + r" \\"


def latex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in sanitise(" ".join(text.split())))


def as_csv(runs: Sequence[RunResult]) -> str:
    """Unrounded figures, one column each, with the key and the folder of every run."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = registry.flat_names()
    counts = ("n_members", "n_nonmembers", "nfe_forward", "nfe_backward", "seconds")
    writer.writerow([*ABOUT, "run_key", *names, *counts, "flags"])
    for run in runs:
        figures = registry.flat(run.metrics)
        flags = [*run.metrics["flags"], *(["differs_from_stored"] if run.differs else [])]
        about = (run.attack, run.access, run.model, run.data, run.mitigation)
        writer.writerow(
            [
                *map(table_cell, about),
                *(run.seed, table_cell(run.step), table_cell(run.key)),
                *(_number(figures.get(name)) for name in names),
                *(run.metrics.get(name, "") for name in counts),
                table_cell(" ".join(flags)),
            ]
        )
    return out.getvalue()


def _number(figure: float | None) -> str:
    if figure is None:
        return ""
    return repr(figure) if isinstance(figure, int) else repr(float(figure))


@dataclass(frozen=True)
class Spread:
    """An attack over training seeds: what a single run's interval does not contain."""

    attack: str
    model: str
    data: str
    mitigation: str
    seeds: tuple[int, ...]
    auroc: tuple[float, ...]
    tpr: tuple[float, ...] | None

    @property
    def auc_mean_sd(self) -> str:
        return _mean_sd(self.auroc)

    @property
    def tpr_mean_sd(self) -> str:
        return _mean_sd(self.tpr) if self.tpr else "n/a"


def over_seeds(runs: Sequence[RunResult]) -> list[Spread]:
    """Mean and standard deviation where an attack ran with several seeds and nothing else differs.

    What else differs is seen in the configuration without its seeds, not in names.
    """
    groups: dict[str, list[RunResult]] = defaultdict(list)
    for run in runs:
        groups[repr((run.attack, run.step, seedless(run.config)))].append(run)
    return [_spread(same) for same in groups.values() if len({c.seed for c in same}) > 1]


def _spread(same: Sequence[RunResult]) -> Spread:
    by_seed = {c.seed: c for c in sorted(same, key=lambda c: c.seed)}
    one, runs = same[0], list(by_seed.values())
    tprs = [at_one(c)["value"] for c in runs]
    defined = tuple(t for t in tprs if t is not None)
    return Spread(
        *(one.attack, one.model, one.data, one.mitigation),
        tuple(by_seed),
        tuple(value(c) for c in runs),
        defined if len(defined) == len(tprs) else None,
    )


def seedless(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's figures except seeds; options of its other attacks stay out."""
    parts = ("model", "data", "attack", "mitigation", "finetune", "calibration")
    kept: dict[str, Any] = {name: dict(config.get(name) or {}) for name in parts}
    kept["data"].pop("split_seed", None)
    for name in ("seed", "save_at", "val_every", "val_rows", "checkpoint_every"):
        kept["finetune"].pop(name, None)
    kept["dtype"] = (config.get("eval") or {}).get("dtype")
    if kept["model"].get("finetune", True):
        kept["precision"] = (config.get("trainer") or {}).get("precision")
    return kept


def _mean_sd(values: Sequence[float]) -> str:
    array = np.array(values)
    return f"{array.mean():.3f} ({array.std(ddof=1):.3f})"
