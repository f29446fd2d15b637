"""docs/benchmarks.md, made from docs/benchmarks.json: every figure with its target."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.bench.results import FIGURES_PATH
from mia_bench.bench.scale.memory import ATTACKS

INTRODUCTION = """\
# Benchmarks

Made from `benchmarks.json` by `make bench`; do not edit. Most figures are ratios of two pieces of
work that take turns, with the middle half of the rounds; others have their unit. "met" compares the
value with the target in the last column. How the figures are made is in `mia_bench/bench/`, what
follows from them for a million images in [scale.md](scale.md).
"""


@dataclass(frozen=True)
class PageRow:
    """One figure: what it is, and what it should be.

    `bound`: "<=", ">=", "~" for 1 within `target`, "" for none.
    """

    key: str
    text: str
    bound: str = ""
    target: float = 0.0

    def verdict(self, value: float) -> str:
        if not self.bound:
            return ""
        if self.bound == "~":
            return f"1 within {self.target:g} {_met(abs(value - 1) <= self.target)}"
        met = value <= self.target if self.bound == "<=" else value >= self.target
        return f"{self.bound} {self.target:g} {_met(met)}"


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def _overheads(prefix: str, words: str) -> list[PageRow]:
    names = ("clid", "noise_agg", "pia", "secmi", "loss")
    return [PageRow(f"{prefix}.{n}", f"{n} {words}", "<=", 1.05) for n in names]


SECTIONS: dict[str, tuple[str, list[PageRow]]] = {
    "unet": (
        "The bare U-Net (tiny)",
        [
            PageRow("unet.best_chunk", "fastest number of rows per call"),
            PageRow("unet.mflop", "MFLOP per evaluation"),
            PageRow("unet.share_of_matmul", "FLOP/s over those of a large matrix product"),
        ],
    ),
    "torch_options": (
        "Options of torch: seconds with over without (below 1 it pays)",
        [
            PageRow("torch_options.contiguous", "contiguous layout instead of channels_last"),
            PageRow("torch_options.plain_attention", "plain attention instead of SDPA"),
            PageRow("torch_options.compile", "torch.compile"),
            PageRow("torch_options.inference_mode", "inference_mode instead of no_grad"),
            PageRow("torch_options.bfloat16", "bfloat16"),
            PageRow("torch_options.float16", "float16"),
        ],
    ),
    "overhead": (
        "Overhead: an attack over a bare loop of as many U-Net evaluations (tiny, caches warm)",
        _overheads("overhead", "over the bare loop"),
    ),
    "sharing": (
        "Shared queries: all attacks in one pass over each in its own",
        [
            PageRow("sharing.evaluations", "U-Net evaluations: union over sum"),
            PageRow("sharing.time", "time, caches warm"),
            PageRow("sharing.excess", "U-Net's time over what evaluations make of it", "<=", 1.05),
            PageRow("sharing.elsewhere", "share of the one pass outside the U-Net, which stays"),
            PageRow("sharing.cold", "time, each pass encoding for itself"),
        ],
    ),
    "unbatched": (
        "Attacks as released scripts run them (one image, one query at a time) over ours, "
        "caches cold",
        [
            PageRow("unbatched.clid", "CLiD", ">=", 4),
            PageRow("unbatched.secmi", "SecMI", ">=", 2.5),
            PageRow("unbatched.pfami", "PFAMI", ">=", 1.4),
            PageRow("unbatched.gsa2", "GSA2"),
        ],
    ),
    "gradients": (
        "Norms of gradients by sample, over gradients of the same rows and timesteps",
        [
            PageRow(
                "gradients.gsa2",
                "GSA2 over forward plus backward through activations, which no norm can do without",
                "<=",
                1.25,
            ),
            PageRow("gradients.gsa2_weights", "GSA2 over forward plus whole backward"),
        ],
    ),
    "training": (
        "Fine-tuning",
        [
            PageRow("finetune.vs_diffusers", "diffusers' loop over ours", ">=", 1.3),
            PageRow("finetune.vs_bare", "ours over bare steps", "<=", 1.05),
        ],
    ),
    "dataset_size": (
        "Growth with the number of samples (16 px images, attack loss)",
        [
            PageRow("dataset_size.exponent", "exponent of time, 100 to 10,000 rows", "<=", 1.03),
            PageRow("dataset_size.exponent_large", "the same, 10,000 to 50,000 rows", "<=", 1.03),
            PageRow("dataset_size.peak_growth", "peak memory, 50,000 rows over 1,000", "<=", 1.05),
            PageRow("dataset_size.peak_mb", "peak memory, 50,000 rows (MB)"),
            PageRow("dataset_size.bytes_per_row", "bytes per additional row"),
        ],
    ),
    "memory": (
        "Peak memory of the predict step, 32 rows of the tiny model, a process each (MB)",
        [
            PageRow("memory.unet", "the bare U-Net on them"),
            *(PageRow(f"memory.{name}", name) for name in ATTACKS),
        ],
    ),
    "startup": (
        "Start-up",
        [
            PageRow("startup.help_seconds", "--help (s)", "<=", 2),
            PageRow("startup.plan_seconds", "plan of the default run (s)", "<=", 5),
        ],
    ),
    "ddp": (
        "Two processes of one thread",
        [
            PageRow("ddp.speedup", "a pass by one process over one by two (wall)", ">=", 1.7),
            PageRow("ddp.ceiling", "what the machine gives two bare loops in parallel"),
            PageRow("ddp.share", "the first over the second", ">=", 0.85),
        ],
    ),
    "parallel_models": (
        "Two models one after the other with every thread, over both in parallel with one each",
        [
            PageRow(
                "parallel_models.train",
                "training 150 steps, the start of a process included (wall)",
            ),
            PageRow("parallel_models.extract", "extracting CLiD's features, the same (wall)"),
        ],
    ),
    "resume": (
        "A pass killed without warning half-way",
        [
            PageRow("resume.rows", "rows in the finished table, each once"),
            PageRow("resume.stored", "rows on disk at the kill"),
            PageRow("resume.extracted", "rows that the second pass extracted"),
            PageRow("resume.merge_seconds", "merging the shards (s, processor time)"),
        ],
    ),
    "stored_runs": (
        "Stored runs",
        [
            PageRow(
                "stored_runs.skip_seconds", "skip 1,000 finished runs through Hydra (s)", "<=", 60
            ),
            PageRow("stored_runs.report_seconds", "report over them (s)", "<=", 6),
            PageRow("stored_runs.status_seconds", "status over 10,000 runs (s)", "<=", 10),
        ],
    ),
    "metrics": (
        "Metrics of one run, 2,000 resamples",
        [
            PageRow(f"metrics.{rows}.{key}", f"{rows:,} rows, {words}")
            for rows in (10_000, 100_000, 1_000_000)
            for key, words in (("seconds", "s"), ("bytes_per_row", "bytes per row"))
        ],
    ),
    "cost_model": (
        "The cost model of scale.md",
        [
            *(
                PageRow(
                    f"cost_model.{name}.{state}",
                    f"{name}, caches {state}: measured over model",
                    "~",
                    0.15,
                )
                for name in ("loss", "clid", "secmi", "pfami", "pia", "noise_agg")
                for state in ("warm", "cold")
            ),
            PageRow("campaign.forward", "ten attacks in one pass: U-Net evaluations per row"),
            PageRow("campaign.encode", "images encoded per row"),
            PageRow("campaign.decode", "latents decoded per row"),
            PageRow("campaign.embed", "texts embedded per row"),
            PageRow(
                "campaign.gflop.forward", "Stable Diffusion 1.5 at 512 px: GFLOP per evaluation"
            ),
            PageRow("campaign.gflop.encode", "GFLOP per encoding"),
            PageRow("campaign.gflop.decode", "GFLOP per decoding"),
            PageRow("campaign.gflop.embed", "GFLOP per text"),
            PageRow("campaign.tflop_per_row", "TFLOP per row"),
        ],
    ),
    "large": (
        "A U-Net of Stable Diffusion 1.5's size, random weights, 32x32 latents",
        [
            PageRow("large.gflop", "GFLOP per evaluation"),
            PageRow("large.share_of_matmul", "FLOP/s over those of a large matrix product"),
            *_overheads("large.overhead", "over the bare loop, caches warm"),
            PageRow("large.cold.clid", "clid over the bare loop, caches cold", "<=", 1.25),
            PageRow("large.unbatched.clid", "CLiD, one image at a time over ours", ">=", 1.1),
        ],
    ),
}


def write_page(path: Path = FIGURES_PATH) -> None:
    """Write the page of the figures in `path` beside them, as .md."""
    stored: dict[str, Any] = json.loads(path.read_text())
    path.with_suffix(".md").write_text("\n".join(page_lines(stored)) + "\n")


def page_lines(stored: dict[str, Any]) -> Iterator[str]:
    """The page in Markdown; benchmarks that were not run yet have no section."""
    yield INTRODUCTION
    for benchmark, (title, rows) in SECTIONS.items():
        circumstances = stored["measured"].get(benchmark)
        if circumstances is not None:
            yield from _section(title, rows, stored, circumstances)
    if "precision" in stored["measured"]:
        yield from _precision(stored)


def _section(
    title: str, rows: list[PageRow], stored: dict[str, Any], circumstances: dict[str, Any]
) -> Iterator[str]:
    yield f"## {title}\n"
    yield _circumstances(circumstances) + "\n"
    yield "| figure | value | middle half | target |\n|---|---:|---|---|"
    for row in rows:
        figure = stored.get(row.key)
        if figure is None:
            continue
        value, span = figure, ""
        if isinstance(figure, dict):
            value, one_round = figure["value"], figure["lo"] == figure["hi"]
            span = "one round" if one_round else f"{figure['lo']:.3f} to {figure['hi']:.3f}"
        yield f"| {row.text} | {_number(value)} | {span} | {row.verdict(value)} |"
    yield ""


def _number(value: float) -> str:
    is_large_count = float(value).is_integer() and abs(value) >= 100
    return f"{value:,.0f}" if is_large_count or abs(value) >= 1e4 else f"{value:.4g}"


def _circumstances(measured: dict[str, Any]) -> str:
    clock = {"wall": "wall time", "process": "processor time"}[measured["clock"]]
    # More load than the benchmark's own threads make: other work ran meanwhile.
    busy = f", load {measured['load']}" if measured["load"] > measured["threads"] + 0.5 else ""
    return f"{_machine(measured)}, ratios of {clock}{busy}."


def _machine(measured: dict[str, Any]) -> str:
    device = measured["gpu"] or f"{measured['processor']}, {measured['cores']} cores"
    threads, version = measured["threads"], measured["torch"]
    return f"{measured['date']}, {device}, threads: {threads}, torch {version}"


def _precision(stored: dict[str, Any]) -> Iterator[str]:
    """Which attacks keep their AUROC in which dtype."""
    yield "## Scoring in lower precision: change of AUROC on the default run\n"
    yield f"{_machine(stored['measured']['precision'])}.\n"
    yield "Held: the 95 % interval of the paired change contains 0 and the change is below 0.01.\n"
    yield (
        "| dtype | attack | AUROC in float32 | change | 95 % | rank correlation | held |\n"
        "|---|---|---:|---:|---|---:|---|"
    )
    for key in sorted(k for k in stored if k.startswith("precision.")):
        _, dtype, attack = key.split(".")
        row = stored[key]
        held = row["lo"] <= 0 <= row["hi"] and abs(row["change"]) < 0.01
        yield (
            f"| {dtype} | {attack} | {row['float32']:.3f} | {row['change']:+.4f} | "
            f"{row['lo']:+.4f} to {row['hi']:+.4f} | {row['rank_correlation']:.4f} | "
            f"{'yes' if held else 'no'} |"
        )
    yield ""
