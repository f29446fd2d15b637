"""`python -m mia_bench.seeds [SEED ...]`: the spread of every attack over training seeds.

Runs the same attacks once per seed (what is finished is reused): experiment=gap, which says how far
CLiD leads the loss and Monte-Carlo attacks, or those of attack=[...]. Prints AUC by seed and paired
differences; writes them as Markdown and JSON to <outputs>/reports/seeds.md.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from mia_bench.config.arguments import parse, run_command, training_seeds
from mia_bench.config.command_spec import Command, Option, Positional
from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

COMMAND = Command(
    "seeds",
    "mia_bench.seeds",
    __doc__,
    (
        Option(
            "compare",
            "attacks that are compared, as they are and in each variant",
            "NAME:NAME",
            repeated=True,
        ),
    ),
    positional=Positional("SEED", "training seeds, each once", default=("0", "1", "2")),
    overrides=True,
    examples=(
        "mia-bench seeds 0 1 2",
        "mia-bench seeds 0 1 finetune.steps=100",
        "mia-bench seeds 0 1 2 'attack=[pia,loss]' compare=pia:loss",
    ),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, study, words)


def study(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    from mia_bench.planning.experiment import compose
    from mia_bench.storage.files import write_json
    from mia_bench.studies.seed_tables import markdown, show
    from mia_bench.studies.seeds import run_seed

    overrides = list(arguments.overrides)
    seeds = training_seeds(arguments)
    compared = [pair(text) for text in arguments.several("compare")]
    out = layout.report_folder(compose(*overrides).outputs, layout.SEEDS_FILE)
    rows = {seed: run_seed(seed, overrides, compared or None) for seed in seeds}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {str(seed): row for seed, row in rows.items()})
    show(rows)
    page = out.with_suffix(".md")
    command = shlex.join([*COMMAND.program, *words])
    page.write_text(markdown(rows, command), encoding="utf-8")
    echo(f"tables: {page}")


def pair(text: str) -> tuple[str, str]:
    """Raises MiaError for a text that is not two attacks joined by a colon."""
    first, colon, second = text.partition(":")
    if not (first and colon and second) or ":" in second:
        raise MiaError(f"compare={text} must be two attacks, as compare=clid:loss.")
    return first, second


if __name__ == "__main__":
    main()
