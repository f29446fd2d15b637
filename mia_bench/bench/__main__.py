"""`python -m mia_bench.bench [part ...]`: measure, print a table, keep docs/benchmarks.json.

Parts that run by default: bare overhead sharing literal training growth start. By name: levers
(compiles the U-Net), memory (of each attack), ddp (two processes on one model), beside (on two),
resume (100,000 rows, killed half-way), stored (1,000 finished cells, 10,000 stored runs), scores (a
million rows), cost (the model of docs/scale.md), large (a U-Net of 860 M parameters: 4 GB of
memory, an hour on a CPU). A part's figures replace its earlier ones; the others stay. Nothing else
should run meanwhile; where it does, --clock process counts computing alone.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mia_bench.bench import clock, page
from mia_bench.bench.clock import Ratio
from mia_bench.bench.kept import OUT, Figures, keep
from mia_bench.bench.parts import DEFAULT, PARTS
from mia_bench.config.arguments import take_parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    take_parts(parser, PARTS, DEFAULT)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=clock.CLOCKS, default="wall")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    clock.use(args.clock)
    for part in args.parts or DEFAULT:
        with quietly():
            found = PARTS[part](args.rounds)
        keep(part, found, args.out)
        show(part, found)
    page.write(args.out)
    print(f"figures: {args.out}")


def show(part: str, found: Figures) -> None:
    table = Table("figure", "value", "middle half of rounds", title=part, title_justify="left")
    for name, value in found.items():
        if isinstance(value, Ratio):
            table.add_row(name, f"{value.value:.3f}", f"{value.lo:.3f} to {value.hi:.3f}")
        else:
            table.add_row(name, f"{value:.4g}", "")
    Console(highlight=False).print(table)


@contextmanager
def quietly() -> Iterator[None]:
    """Without the trainer's greetings and bars, which would be printed a hundred times."""
    from contextlib import redirect_stderr

    from mia_bench.utils.library_logging import silence_libraries

    silence_libraries()
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


if __name__ == "__main__":
    main()
