"""`python -m mia_bench.trajectory finetune.save_at=[50,100]`: attacks at every saved training step.

One fine-tune, the attacks at every checkpoint it saved, and what the model is good for there. The
figure marks the step that early stopping would choose on the recorded validation curve.
"""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command
from mia_bench.utils.terminal import echo

COMMAND = Command(
    "trajectory",
    "mia_bench.trajectory",
    __doc__,
    overrides=True,
    examples=("mia-bench trajectory 'finetune.save_at=[50,100,200]' 'attack=[clid,loss]'",),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, study, words)


def study(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    from mia_bench.studies.trajectory import run

    echo(f"figure: {run(arguments.overrides)}")


if __name__ == "__main__":
    main()
