"""`python -m mia_bench.trajectory`: attacks against a model at every stored training step."""

from __future__ import annotations

from mia_bench.config.arguments import command
from mia_bench.studies.trajectory import run
from mia_bench.utils.terminal import echo


def main() -> None:
    command(lambda words: echo(f"figure: {run(words)}"), __doc__)


if __name__ == "__main__":
    main()
