"""`python -m mia_bench.sync`: send what is in outputs/ to W&B, whenever there is a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mia_bench.config.arguments import command
from mia_bench.tracking.options import options_of
from mia_bench.tracking.sync import sync

USAGE = "python -m mia_bench.sync [paths.outputs=outputs] [wandb=online] [again=true] ..."


def main(words: Sequence[str] | None = None) -> None:
    command(lambda given: sys.exit(1 if sync(options_of(given, USAGE)) else 0), words=words)


if __name__ == "__main__":
    main()
