"""`python -m mia_bench.mitigation_study [SEED ...]`: mitigations compared under the attacks.

What each defence buys and what it costs, over seeds; what is finished is reused, so a stopped study
goes on where it was. Tables and figure go to <outputs>/reports/mitigations/.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from mia_bench.config.arguments import parse, run_command, training_seeds
from mia_bench.config.command_spec import FLAG, Command, Option, Positional
from mia_bench.storage import layout
from mia_bench.utils.terminal import echo

COMMAND = Command(
    "mitigations",
    "mia_bench.mitigation_study",
    __doc__,
    (
        Option("small", "fewer rows and steps", FLAG, "false"),
        Option("mitigation", "one to study instead of the study's own", "NAME", repeated=True),
        Option(
            "captions", "of a machine, trained on or asked with: file:FILE, pseudo:NAME", "FROM"
        ),
    ),
    Positional("SEED", "training seeds, each once", default=("0", "1", "2")),
    overrides=True,
    examples=(
        "mia-bench mitigations 0 1 2",
        "mia-bench mitigations 0 small=true mitigation=dp mitigation=lora",
    ),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, study, words)


def study(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    from mia_bench.planning.experiment import compose
    from mia_bench.studies.mitigation_tables import report
    from mia_bench.studies.mitigations import (
        MITIGATIONS,
        SMALL_SIZES,
        captioned,
        chosen_cells,
        fitting,
        run,
    )

    seeds = training_seeds(arguments)
    small = arguments.flag("small")
    overrides = [*(SMALL_SIZES if small else ()), *arguments.overrides]
    own: list[str] = []
    if "captions" in arguments:
        own, given = captioned(arguments.text("captions"))
        overrides = [*overrides, *given]
    cells = chosen_cells(arguments.several("mitigation") or MITIGATIONS, own, overrides)
    outcomes = run(seeds, cells, overrides)
    reports = layout.report_folder(compose(*fitting(overrides, "none")).outputs)
    folder = reports / ("mitigations-small" if small else "mitigations")
    echo(f"table: {report(outcomes, folder, shlex.join(words))}")


if __name__ == "__main__":
    main()
