"""`python -m mia_bench.noise_levels RUN ...`: at which noise level a model tells its members.

RUN is a finished run of rf_curve, by its folder, its name or its key. From the losses that it
stored: the AUC of the loss at each noise level alone, with its interval, and of the control's model
where the run has one. Nothing is asked of a model, and nothing is written but figure=FILE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Positional
from mia_bench.studies.figures import CURVE_OPTIONS, runs_and_figure
from mia_bench.utils.terminal import echo

if TYPE_CHECKING:
    from mia_bench.studies.noise_levels import LevelCurve

COMMAND = Command(
    "noise-levels",
    "mia_bench.noise_levels",
    __doc__,
    CURVE_OPTIONS,
    Positional("RUN", "folder, name or key of a finished run of rf_curve", required=True),
    examples=("mia-bench noise-levels outputs/runs/*/*/rf_curve-* figure=levels.png",),
)
NOTE = (
    "No row was fitted on; the best of these levels was not chosen on other rows, so its AUC is "
    "no attack's."
)


def run(words: Sequence[str]) -> None:
    """Print a table for each run, and draw."""
    arguments = parse(COMMAND, words)
    from mia_bench.studies.noise_levels import draw, level_curve

    refs, file = runs_and_figure(arguments, "rf_curve")
    resamples = arguments.integer("resamples", least=1)
    curves = [level_curve(ref, resamples) for ref in refs]
    for curve in curves:
        show(curve)
    if file is not None:
        echo(f"figure: {draw(curves, file)}")


def show(curve: LevelCurve) -> None:
    """The table of one run."""
    from mia_bench.display.console import Column, interval, paragraph, table

    columns = [
        Column("sigma" if curve.fractions else "timestep"),
        Column("AUC"),
        Column("control"),
    ]
    controls = curve.control or ({},) * len(curve.levels)
    rows = [
        [
            f"{level:.3f}" if curve.fractions else f"{level:.0f}",
            interval(entry),
            interval(control) if control else "",
        ]
        for level, entry, control in zip(curve.levels, curve.target, controls, strict=True)
    ]
    table(curve.label, columns, rows)
    paragraph(f"{curve.members} members, {curve.nonmembers} non-members. {NOTE}")


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


if __name__ == "__main__":
    main()
