"""`python -m mia_bench.seeds [SEED ...]`: the spread of every attack over training seeds.

Runs experiment=gap once per seed (what is finished is reused) and prints how far CLiD leads the
loss and Monte-Carlo attacks; writes <outputs>/reports/seeds.json.
"""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.config.arguments import parse, run_command, whole_number
from mia_bench.config.command_spec import Command, Positional
from mia_bench.storage import layout
from mia_bench.utils.terminal import echo

COMMAND = Command(
    "seeds",
    "mia_bench.seeds",
    __doc__,
    positional=Positional("SEED", "training seeds", default=("0", "1", "2")),
    overrides=True,
    examples=("mia-bench seeds 0 1 2", "mia-bench seeds 0 1 finetune.steps=100"),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, study, words)


def study(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    from mia_bench.planning.experiment import compose
    from mia_bench.storage.files import write_json
    from mia_bench.studies.seeds import run_seed, show

    overrides = list(arguments.overrides)
    seeds = [whole_number(word, f"seed {word}") for word in arguments.words]
    out = layout.report_folder(compose(*overrides).outputs, layout.SEEDS_FILE)
    rows = {seed: run_seed(seed, overrides) for seed in seeds}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {str(seed): row for seed, row in rows.items()})
    show(rows)
    echo(f"figures: {out}")


if __name__ == "__main__":
    main()
