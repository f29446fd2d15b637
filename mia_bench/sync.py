"""`python -m mia_bench.sync`: send finished runs to W&B, whenever there is a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mia_bench.config.arguments import run_command
from mia_bench.config.command_spec import FLAG, Command, Option
from mia_bench.tracking.options import WANDB_OPTIONS, options_of

COMMAND = Command(
    "sync",
    "mia_bench.sync",
    __doc__,
    (*WANDB_OPTIONS, Option("again", "send once more what was sent before", FLAG, "false")),
    examples=("mia-bench sync", "mia-bench sync entity=my-team project=audits"),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, _send, words)


def _send(words: Sequence[str]) -> None:
    options = options_of(COMMAND, words)
    from mia_bench.tracking.sync import sync

    sys.exit(1 if sync(options) else 0)


if __name__ == "__main__":
    main()
