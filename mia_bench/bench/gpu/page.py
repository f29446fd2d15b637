"""docs/gpu.md, made from docs/gpu.json; without that file it says that nothing was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mia_bench.bench.gpu import results
from mia_bench.bench.gpu.networks import MODELS, SPECS
from mia_bench.bench.gpu.results import GPU_FIGURES_PATH, GpuFigures
from mia_bench.bench.gpu.scoring import ON_LATENTS
from mia_bench.bench.gpu.steps import OVERHEAD_DTYPE

NOT_MEASURED = "not measured yet"
TITLES = {"sd15": "Stable Diffusion 1.5", "sdxl": "SDXL", "sd3": "Stable Diffusion 3 (MM-DiT)"}
DTYPES = ("float32", "tf32", "bfloat16", "float16")
OVERHEAD_TARGET = 1.05
CAMPAIGN_IMAGES, CAMPAIGN_CARDS = 1_000_000, 8
SECONDS_PER_HOUR = 3600

INTRODUCTION = """\
# One GPU, measured

Made from `gpu.json` by `python -m mia_bench.bench gpu`; do not edit. Networks have their real size
and random weights, images are 512 px (Stable Diffusion 1.5) and 1024 px (SDXL, Stable Diffusion 3).
On a machine with a GPU and torch, `make gpu-day` runs this and the GPU tests in parts of at most
nine minutes, and goes on where it was stopped. [scale.md](scale.md) has what was counted and
assumed for a million images before.
"""
NOTHING_MEASURED = f"""\
**Nothing is measured yet: no GPU was at hand.** The page will have, for
{", ".join(TITLES[model] for model in MODELS)}:

- the bare network at the best chunk in {", ".join(DTYPES)}: time of an evaluation, TFLOP/s
  and their share of a large matrix product's;
- `attack=all` in each dtype: seconds and peak memory an image, the codec's share, and the hours
  of {CAMPAIGN_IMAGES:,} images on {CAMPAIGN_CARDS} such cards;
- {", ".join(ON_LATENTS)} over as many evaluations of the bare network;
- steps of a fine-tune beside a loop as diffusers' scripts have it;
- `make test-gpu`: what passed and what failed.
"""


def write_page(path: Path = GPU_FIGURES_PATH) -> None:
    """Write the page of the figures in `path` beside them, as .md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = page_lines(results.load(path))
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def page_lines(figures: GpuFigures | None) -> Iterator[str]:
    """The page in Markdown, one line after the other."""
    yield INTRODUCTION
    if figures is None:
        yield NOTHING_MEASURED
        return
    yield from _machine(figures)
    yield from _speed(figures)
    yield from _all_attacks(figures)
    yield from _overhead(figures)
    yield from _finetuning(figures)
    yield from _tests(figures)
    yield from _errors(figures)


def _machine(figures: GpuFigures) -> Iterator[str]:
    machine = figures.machine
    libraries = ", ".join(f"{name} {v}" for name, v in machine["libraries"].items())
    memory = f", {machine['gigabytes']:g} GB" if machine["gigabytes"] else ""
    cuda = f", CUDA {machine['cuda']}" if machine["cuda"] else ""
    yield f"Card: **{machine['device']}**{memory}, {machine['date']}."
    yield f"Python {machine['python']}, torch {machine['torch']}{cuda}, {libraries}.\n"
    if not machine["is_gpu"] or figures.size != "real":
        yield "A rehearsal: these figures are of narrow networks or of a processor.\n"


def _speed(figures: GpuFigures) -> Iterator[str]:
    yield "## The bare network at the best chunk\n"
    yield "Share: FLOP/s over those of a product of two 8192 x 8192 matrices in the same dtype.\n"
    columns = ("GFLOP an evaluation", "rows per call", "ms an evaluation", "TFLOP/s", "share")
    yield from _head(("model", "dtype"), columns)
    for model in MODELS:
        for dtype in DTYPES:
            names = ("chunk", "milliseconds", "tflops", "share_of_product")
            values = [figures.figure(f"{model}.speed", f"{dtype}.{name}") for name in names]
            gflop = figures.figure(f"{model}.speed", "gflop") if values[0] is not None else None
            yield _row(TITLES[model], dtype, gflop, *values)
    yield ""


def _all_attacks(figures: GpuFigures) -> Iterator[str]:
    yield "## attack=all, latents not cached\n"
    yield (
        "Codec: share of the time in which images are encoded and decoded, always in float32. "
        f"Hours: {CAMPAIGN_IMAGES:,} images on {CAMPAIGN_CARDS} such cards, one pass.\n"
    )
    columns = ("s an image", "evaluations", "gradients", "peak memory, GB", "codec", "hours")
    yield from _head(("model", "eval.dtype"), columns)
    names = (
        *("seconds_an_image", "evaluations_an_image", "gradients_an_image"),
        *("peak_gigabytes", "codec_share"),
    )
    for model in MODELS:
        for dtype in DTYPES:
            step = f"{model}.all.{dtype}"
            values = [figures.figure(step, f"{dtype}.{name}") for name in names]
            seconds = values[0]
            hours = (
                None
                if seconds is None
                else seconds * CAMPAIGN_IMAGES / CAMPAIGN_CARDS / SECONDS_PER_HOUR
            )
            yield _row(TITLES[model], dtype, *values, hours)
    yield ""


def _overhead(figures: GpuFigures) -> Iterator[str]:
    yield f"## Attacks over the bare network, {OVERHEAD_DTYPE}, latents cached\n"
    yield (
        "Time of an attack over as many evaluations of the bare network; at most "
        f"{OVERHEAD_TARGET:g} is wanted. DRC, ReDiffuse and GSA, which decode or take gradients, "
        "are in the table above.\n"
    )
    yield from _head(("attack",), [TITLES[model] for model in MODELS])
    for name in ON_LATENTS:
        values = [figures.figure(f"{m}.overhead", f"{OVERHEAD_DTYPE}.{name}") for m in MODELS]
        yield f"| {name} | {' | '.join(_verdict(value) for value in values)} |"
    yield ""


def _verdict(ratio: Any) -> str:
    if ratio is None:
        return NOT_MEASURED
    met = "met" if ratio["value"] <= OVERHEAD_TARGET else "**missed**"
    return f"{ratio['value']:.3f} {met}"


def _finetuning(figures: GpuFigures) -> Iterator[str]:
    yield "## Steps of a fine-tune, bfloat16\n"
    yield "Plain: a loop as diffusers' scripts, which encodes its images in every step.\n"
    columns = ("batch", "s a step", "plain, s a step", "plain over ours", "peak memory, GB")
    yield from _head(("model", "trained"), columns)
    for model in MODELS:
        spec, step = SPECS[model]["real"], f"{model}.finetune"
        rank = figures.figure(step, "rank")
        rank = spec.recipe.get("lora_rank") if rank is None else rank
        names = ("ours.seconds", "plain.seconds", "plain_over_ours", "ours.peak_gigabytes")
        values = [figures.figure(step, name) for name in names]
        trained = f"LoRA of rank {rank}" if rank else "every weight"
        yield _row(TITLES[model], trained, figures.figure(step, "batch"), *values)
    yield ""


def _tests(figures: GpuFigures) -> Iterator[str]:
    yield "## `make test-gpu`\n"
    if not figures.tests:
        yield f"{NOT_MEASURED.capitalize()}.\n"
        return
    counts = Counter(figures.tests.values())
    yield f"{', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()))}.\n"
    for name, outcome in sorted(figures.tests.items()):
        if outcome == "failed":
            yield f"- failed: `{name}`"
    yield ""


def _errors(figures: GpuFigures) -> Iterator[str]:
    failed = {name: step for name, step in figures.steps.items() if step.figures is None}
    if not failed:
        return
    yield "## Steps without a figure\n"
    for name, step in failed.items():
        yield f"- `{name}`: {step.error or f'begun {step.attempts} times, and never ended'}"
    yield ""


def _head(words: Sequence[str], numbers: Sequence[str]) -> Iterator[str]:
    """The first two lines of a table, whose `numbers` are set to the right."""
    yield f"| {' | '.join([*words, *numbers])} |"
    yield f"|{'---|' * len(words)}{'---:|' * len(numbers)}"


def _row(*cells: Any) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(value: Any) -> str:
    if value is None:
        return NOT_MEASURED
    return value if isinstance(value, str) else f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"
