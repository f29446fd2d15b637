"""`python -m mia_bench.studies.votes_command RUN ...`: what a number of agreeing votes means.

RUN is a finished run of DRC whose tasks vote (aggregate=agree), by its folder, its name or its key.
From the scores that it stored: recall and precision of the rows with so many votes or more, with
their intervals. Nothing is asked of a model, and nothing is written but figure=FILE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Positional
from mia_bench.studies.figures import CURVE_OPTIONS, runs_and_figure
from mia_bench.utils.terminal import echo

if TYPE_CHECKING:
    from mia_bench.studies.votes import VoteCurve

COMMAND = Command(
    "votes",
    "mia_bench.studies.votes_command",
    __doc__,
    CURVE_OPTIONS,
    Positional("RUN", "folder, name or key of a finished run of DRC that votes", required=True),
    examples=("mia-bench votes outputs/runs/*/*/drc_tasks-* figure=votes.png",),
)


def run(words: Sequence[str]) -> None:
    """Print a table for each run, and draw."""
    arguments = parse(COMMAND, words)
    from mia_bench.studies.votes import draw, vote_curve

    refs, file = runs_and_figure(arguments, "DRC")
    resamples = arguments.integer("resamples", least=1)
    curves = [vote_curve(ref, resamples) for ref in refs]
    for curve in curves:
        show(curve)
    if file is not None:
        echo(f"figure: {draw(curves, file)}")


def show(curve: VoteCurve) -> None:
    """The table of one run."""
    from mia_bench.display.console import Column, interval, paragraph, table
    from mia_bench.studies.votes import WORDS

    columns = [Column("votes, at least"), *(Column(WORDS[name]) for name in curve.shares)]
    rows = [
        [str(k), *(interval(entries[k - 1]) for entries in curve.shares.values())]
        for k in curve.votes
    ]
    table(curve.label, columns, rows)
    paragraph(f"{curve.members} members, {curve.nonmembers} non-members, {curve.tasks} votes each.")


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


if __name__ == "__main__":
    main()
