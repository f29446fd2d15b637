"""`python -m mia_bench.status [paths.outputs=outputs]`: what is finished, half done or failed."""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.config.arguments import command, outputs_of, parse
from mia_bench.display.status_tables import show

USAGE = "python -m mia_bench.status [paths.outputs=outputs]"
KNOWN = {"paths.outputs": "folder that runs write to"}


def main(words: Sequence[str] | None = None) -> None:
    command(lambda given: show(outputs_of(parse(given, KNOWN, USAGE))), words=words)


if __name__ == "__main__":
    main()
