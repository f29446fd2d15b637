"""`python -m mia_bench.bench gpu [STEP ...]`: measure networks of real size on one GPU.

Stable Diffusion 1.5, SDXL and Stable Diffusion 3 with random weights: share of the matrix product's
peak at the best chunk, attack=all (seconds and memory an image, codec's share) in each dtype,
overhead of attacks over the bare network, fine-tune steps against a plain loop. Steps are named
sd15.speed, sd15.all.bfloat16, sd15.overhead, sd15.finetune and so on; the beginning of a name
stands for all that begin so.

After each step the figures are written, with the page beside them; the same command goes on with
what is left. `limit=480` begins no step that might end after 480 seconds. size=small takes the same
steps with narrow networks, on a CPU in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mia_bench.bench.gpu.networks import SIZES
from mia_bench.bench.gpu.results import GPU_FIGURES_PATH
from mia_bench.config.arguments import Arguments, parse, run_command
from mia_bench.config.command_spec import Command, Option, Positional
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import nearest

COMMAND = Command(
    "bench gpu",
    "mia_bench.bench gpu",
    __doc__,
    (
        Option("size", "real, or small to rehearse", "SIZE", "real"),
        Option("rounds", "repetitions of every comparison", "N", "3"),
        Option("limit", "seconds after which no step begins (none where it is left out)", "N"),
        Option("out", "where figures go, with the page beside it", "FILE", str(GPU_FIGURES_PATH)),
    ),
    Positional("STEP", "what to measure; all of it where none is named"),
    examples=("mia-bench bench gpu", "mia-bench bench gpu sdxl.all limit=480"),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, _measure, words)


def _measure(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    size, out = arguments.text("size"), arguments.path("out")
    if size not in SIZES:
        raise MiaError(f"size={size}. {nearest(size, SIZES)}")
    left = _run(arguments, size, out)
    echo(f"figures: {out}")
    if left:
        echo(f"left: {' '.join(left)}. The same command goes on with them.")


def _run(arguments: Arguments, size: str, out: Path) -> list[str]:
    """Names of the steps that are left. Raises MiaError for real sizes without a GPU."""
    import lightning.pytorch  # noqa: F401  sets its own logger's level, once
    import torch

    from mia_bench.bench.gpu import page
    from mia_bench.bench.gpu.speed import SpeedSetting
    from mia_bench.bench.gpu.steps import all_steps, chosen, run_steps
    from mia_bench.utils.library_logging import silence_libraries

    cuda = torch.cuda.is_available()
    if size == "real" and not cuda:
        raise MiaError(
            "torch sees no CUDA device: networks of real size would take hours here. "
            "size=small rehearses the same steps on a CPU."
        )
    silence_libraries()
    limit = float(arguments.integer("limit")) if "limit" in arguments else None
    with TemporaryDirectory() as folder:
        rounds = arguments.integer("rounds", least=1)
        setting = SpeedSetting(torch.device("cuda" if cuda else "cpu"), size, rounds, Path(folder))
        steps = chosen(all_steps(setting.dtypes), arguments.words)
        left = run_steps(steps, setting, out, limit)
    page.write_page(out)
    return left
