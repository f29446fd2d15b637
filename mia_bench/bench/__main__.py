"""`python -m mia_bench.bench [part ...]`: measure, print a table, update docs/benchmarks.json.

Parts that run by default: unet overhead sharing unbatched training dataset_size startup. By name:
torch_options (compiles the U-Net), memory (of each attack), ddp (two processes on one model),
parallel_models (two processes, a model each), resume (100,000 rows, killed half-way), stored_runs
(a sweep over 1,000 finished runs, status of 10,000), metrics (of a million rows), cost_model (of
docs/scale.md), large (a U-Net of 860 M parameters: 4 GB of memory, an hour on a CPU). A part's
figures replace its earlier ones; the others stay. Nothing else should run meanwhile; where it does,
--clock process counts processor time alone.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mia_bench.bench import results_page, timing
from mia_bench.bench.registry import BENCHMARKS, DEFAULT
from mia_bench.bench.results import FIGURES_PATH, Figures, add_figures
from mia_bench.bench.timing import Ratio
from mia_bench.config.arguments import take_parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    take_parts(parser, BENCHMARKS, DEFAULT)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=timing.CLOCKS, default="wall")
    parser.add_argument("--out", type=Path, default=FIGURES_PATH)
    args = parser.parse_args()
    timing.use_clock(args.clock)
    for part in args.parts or DEFAULT:
        with quietly():
            figures = BENCHMARKS[part](args.rounds)
        add_figures(part, figures, args.out)
        print_table(part, figures)
    results_page.write_page(args.out)
    print(f"figures: {args.out}")


def print_table(part: str, figures: Figures) -> None:
    table = Table("figure", "value", "middle half of rounds", title=part, title_justify="left")
    for name, value in figures.items():
        if isinstance(value, Ratio):
            table.add_row(name, f"{value.value:.3f}", f"{value.lo:.3f} to {value.hi:.3f}")
        else:
            table.add_row(name, f"{value:.4g}", "")
    Console(highlight=False).print(table)


@contextmanager
def quietly() -> Iterator[None]:
    """Without the trainer's notes and progress bars, which would be printed a hundred times."""
    from contextlib import redirect_stderr

    from mia_bench.utils.library_logging import silence_libraries

    silence_libraries()
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


if __name__ == "__main__":
    main()
