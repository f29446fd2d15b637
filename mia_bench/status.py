"""`python -m mia_bench.status`: what is finished, half done or failed, and its size on disk."""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.config.arguments import OUTPUTS, outputs_of, parse, run_command
from mia_bench.config.command_spec import Command

COMMAND = Command(
    "status",
    "mia_bench.status",
    __doc__,
    (OUTPUTS,),
    examples=("mia-bench status", "mia-bench status paths.outputs=/mnt/outputs"),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, _print_status, words)


def _print_status(words: Sequence[str]) -> None:
    outputs = outputs_of(parse(COMMAND, words))
    from mia_bench.display.status_tables import show

    show(outputs)


if __name__ == "__main__":
    main()
