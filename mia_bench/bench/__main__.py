"""`python -m mia_bench.bench [PART ...]`: measure speed and memory, update docs/benchmarks.json.

Parts that run by default: unet overhead sharing unbatched gradients training dataset_size startup.
By name: torch_options (compiles the U-Net), memory (of each attack), ddp (two processes on one
model), parallel_models (two processes, a model each), resume (100,000 rows, killed half-way),
stored_runs (a sweep over 1,000 finished runs, status of 10,000), metrics (of a million rows),
cost_model (of docs/scale.md), large (a U-Net of 860 M parameters: 4 GB of memory, an hour on a
CPU). A part's figures replace its earlier ones; the others stay. Nothing else should run meanwhile;
where it does, clock=process counts processor time alone.

`bench gpu` measures networks of real size on one GPU for docs/gpu.md, in steps that resume: see
`bench gpu --help`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mia_bench.bench import results_page, timing
from mia_bench.bench.registry import BENCHMARKS, DEFAULT
from mia_bench.bench.results import FIGURES_PATH, Figures, add_figures
from mia_bench.bench.timing import Ratio
from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Option, Positional
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import nearest

COMMAND = Command(
    "bench",
    "mia_bench.bench",
    __doc__,
    (
        Option("rounds", "repetitions of every comparison", "N", "7"),
        Option("clock", "what is measured: wall or process time", "CLOCK", "wall"),
        Option(
            "out",
            "where figures go, with the page beside it",
            "FILE",
            FIGURES_PATH.as_posix(),
        ),
    ),
    Positional("PART", "what to measure", tuple(BENCHMARKS), tuple(DEFAULT)),
    examples=("mia-bench bench", "mia-bench bench sharing memory rounds=3"),
)


def main(words: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if words is None else words
    if words and words[0] == "gpu":
        from mia_bench.bench.gpu.command import main as measure_gpu

        measure_gpu(words[1:])
    else:
        run_command(COMMAND, _measure, words)


def _measure(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    kind, out = arguments.text("clock"), arguments.path("out")
    rounds = arguments.integer("rounds", least=1)
    if kind not in timing.CLOCKS:
        raise MiaError(f"there is no clock '{kind}'. {nearest(kind, timing.CLOCKS)}")
    timing.use_clock(kind)
    for part in arguments.words:
        with quietly():
            figures = BENCHMARKS[part](rounds)
        add_figures(part, figures, out)
        print_table(part, figures)
    results_page.write_page(out)
    echo(f"figures: {out}")


def print_table(part: str, figures: Figures) -> None:
    from mia_bench.display.console import Column, table

    columns = [Column("figure", left=True), Column("value"), Column("middle half of rounds", 1)]
    rows = [
        [name, f"{value.value:.3f}", f"{value.lo:.3f} to {value.hi:.3f}"]
        if isinstance(value, Ratio)
        else [name, f"{value:.4g}", ""]
        for name, value in figures.items()
    ]
    table(part, columns, rows, rest="docs/benchmarks.json")


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
