"""docs/benchmarks.md, made from docs/benchmarks.json: every figure beside its target."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.bench.kept import OUT
from mia_bench.bench.memory import ATTACKS

INTRODUCTION = """\
# Benchmarks

Made from `benchmarks.json` by `make bench`; do not edit. Ratios of two pieces of work that take
turns in one process, with the middle half of the rounds; where a figure is no ratio its unit is
said. "met" compares the value with the target beside it. How the figures are made is in
`mia_bench/bench/`, what follows from them for a million images in [scale.md](scale.md).
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


LINES: dict[str, tuple[str, list[PageRow]]] = {
    "bare": (
        "The bare U-Net (tiny)",
        [
            PageRow("bare.best_chunk", "rows per call that are fastest"),
            PageRow("bare.mflop", "MFLOP of an evaluation"),
            PageRow("bare.share_of_matmul", "FLOP/s over those of a large matrix product"),
        ],
    ),
    "levers": (
        "Options of torch: seconds with over without (below 1 it pays)",
        [
            PageRow("lever.contiguous", "plain memory layout in place of channels_last"),
            PageRow("lever.plain_attention", "attention in plain products in place of SDPA"),
            PageRow("lever.compile", "torch.compile"),
            PageRow("lever.inference_mode", "inference_mode in place of no_grad"),
            PageRow("lever.bfloat16", "bfloat16"),
            PageRow("lever.float16", "float16"),
        ],
    ),
    "overhead": (
        "Overhead: an attack over a bare loop of as many U-Net evaluations (tiny, caches warm)",
        _overheads("overhead", "over the bare loop"),
    ),
    "sharing": (
        "Sharing: all attacks in one pass over each in its own",
        [
            PageRow("sharing.evaluations", "U-Net evaluations: union over sum"),
            PageRow("sharing.time", "time, caches warm"),
            PageRow("sharing.excess", "time over what the evaluations make of it", "<=", 1.05),
            PageRow("sharing.cold", "time, each pass encoding for itself"),
        ],
    ),
    "literal": (
        "The shape of released scripts (one image, one question at a time) over ours, caches cold",
        [
            PageRow("literal.clid", "CLiD", ">=", 4),
            PageRow("literal.secmi", "SecMI", ">=", 2.5),
            PageRow("literal.pfami", "PFAMI", ">=", 1.4),
            PageRow("literal.gsa2", "GSA2", ">=", 6),
        ],
    ),
    "training": (
        "Fine-tuning",
        [
            PageRow("finetune.vs_diffusers", "diffusers' loop over ours", ">=", 1.3),
            PageRow("finetune.vs_bare", "ours over bare steps", "<=", 1.05),
        ],
    ),
    "growth": (
        "Growth with the number of samples (16 px pictures, attack loss)",
        [
            PageRow("samples.exponent", "exponent of time, 100 to 10,000 rows", "<=", 1.03),
            PageRow("samples.exponent_large", "the same, 10,000 to 50,000 rows", "<=", 1.03),
            PageRow("memory.growth", "peak memory, 50,000 rows over 1,000", "<=", 1.05),
            PageRow("memory.peak_mb", "peak memory, 50,000 rows (MB)"),
            PageRow("memory.bytes_per_row", "bytes a row adds"),
        ],
    ),
    "memory": (
        "Peak memory of the predict step, 32 rows of the tiny model, a process each (MB)",
        [
            PageRow("memory.attack.bare", "the bare U-Net on them"),
            *(PageRow(f"memory.attack.{name}", name) for name in ATTACKS),
        ],
    ),
    "start": (
        "Start",
        [
            PageRow("start.help_seconds", "--help (s)", "<=", 2),
            PageRow("start.plan_seconds", "plan of the default run (s)", "<=", 5),
        ],
    ),
    "ddp": (
        "Two processes of one thread",
        [
            PageRow("ddp.speedup", "a pass by one process over one by two (wall)", ">=", 1.7),
            PageRow("ddp.ceiling", "what the machine gives two bare loops beside each other"),
            PageRow("ddp.share", "the first over the second", ">=", 0.85),
        ],
    ),
    "beside": (
        "Two models one after the other with every thread, over beside each other with one each",
        [
            PageRow("beside.train", "training 150 steps, the start of a process included (wall)"),
            PageRow("beside.ask", "asking CLiD's questions, the same (wall)"),
        ],
    ),
    "resume": (
        "A pass killed without warning half-way",
        [
            PageRow("resume.rows", "rows in the finished table, each once"),
            PageRow("resume.kept", "rows on disk at the kill"),
            PageRow("resume.asked", "rows the second pass asked about"),
            PageRow("resume.merge_seconds", "merging the shards (s of computing)"),
        ],
    ),
    "stored": (
        "What is stored",
        [
            PageRow(
                "stored.cells_seconds", "skip 1,000 finished cells through Hydra (s)", "<=", 360
            ),
            PageRow("stored.report_seconds", "report over them (s)", "<=", 30),
            PageRow("stored.status_seconds", "status over 10,000 runs (s)", "<=", 10),
        ],
    ),
    "scores": (
        "Metrics of one cell, 2,000 resamples",
        [
            PageRow(f"scores.{rows}.{key}", f"{rows:,} rows, {words}")
            for rows in (10_000, 100_000, 1_000_000)
            for key, words in (("seconds", "s"), ("bytes_per_row", "bytes a row"))
        ],
    ),
    "cost": (
        "The cost model of scale.md",
        [
            *(
                PageRow(
                    f"cost.{name}.{state}",
                    f"{name}, {state}: measured over model",
                    "~",
                    0.15,
                )
                for name in ("loss", "clid", "secmi", "pfami", "pia", "noise_agg")
                for state in ("warm", "cold")
            ),
            PageRow("campaign.forward", "ten attacks together: U-Net evaluations a row"),
            PageRow("campaign.encode", "images encoded a row"),
            PageRow("campaign.decode", "latents decoded a row"),
            PageRow("campaign.embed", "texts embedded a row"),
            PageRow(
                "campaign.gflop.forward", "Stable Diffusion 1.5 at 512 px: GFLOP an evaluation"
            ),
            PageRow("campaign.gflop.encode", "GFLOP an encoding"),
            PageRow("campaign.gflop.decode", "GFLOP a decoding"),
            PageRow("campaign.gflop.embed", "GFLOP a text"),
            PageRow("campaign.tflop_per_row", "TFLOP a row"),
        ],
    ),
    "large": (
        "A U-Net of Stable Diffusion 1.5's size, random weights, 32x32 latents",
        [
            PageRow("large.gflop", "GFLOP of an evaluation"),
            PageRow("large.share_of_matmul", "FLOP/s over those of a large matrix product"),
            *_overheads("large.overhead", "over the bare loop, caches warm"),
            PageRow("large.cold.clid", "clid over the bare loop, caches cold", "<=", 1.25),
            PageRow("large.literal.clid", "CLiD, one at a time over ours", ">=", 1.1),
        ],
    ),
}


def write(figures: Path = OUT) -> None:
    kept: dict[str, Any] = json.loads(figures.read_text())
    figures.with_suffix(".md").write_text("\n".join(_page(kept)) + "\n")


def _page(kept: dict[str, Any]) -> Iterator[str]:
    yield INTRODUCTION
    for part, (title, lines) in LINES.items():
        about = kept["measured"].get(part)
        if about is not None:
            yield from _section(title, lines, kept, about)
    if "precision" in kept["measured"]:
        yield from _precision(kept)


def _section(
    title: str, lines: list[PageRow], kept: dict[str, Any], about: dict[str, Any]
) -> Iterator[str]:
    yield f"## {title}\n"
    yield _where(about) + "\n"
    yield "| figure | value | middle half | target |\n|---|---:|---|---|"
    for line in lines:
        entry = kept.get(line.key)
        if entry is None:
            continue
        value, span = entry, ""
        if isinstance(entry, dict):
            value, one = entry["value"], entry["lo"] == entry["hi"]
            span = "one round" if one else f"{entry['lo']:.3f} to {entry['hi']:.3f}"
        yield f"| {line.text} | {_number(value)} | {span} | {line.verdict(value)} |"
    yield ""


def _number(value: float) -> str:
    whole = float(value).is_integer() and abs(value) >= 100
    return f"{value:,.0f}" if whole or abs(value) >= 1e4 else f"{value:.4g}"


def _where(about: dict[str, Any]) -> str:
    clock = {"wall": "wall time", "process": "time of computing"}[about["clock"]]
    busy = f", load {about['load']}" if about["load"] > about["threads"] + 0.5 else ""
    return f"{_machine(about)}, ratios of {clock}{busy}."


def _machine(about: dict[str, Any]) -> str:
    device = about["gpu"] or f"{about['processor']}, {about['cores']} cores"
    return f"{about['date']}, {device}, threads: {about['threads']}, torch {about['torch']}"


def _precision(kept: dict[str, Any]) -> Iterator[str]:
    """Which attacks bear which dtype."""
    yield "## Scoring in lower precision: change of AUROC on the default run\n"
    yield f"{_machine(kept['measured']['precision'])}.\n"
    yield "Held: the 95 % interval of the paired change contains 0 and the change is below 0.01.\n"
    yield (
        "| dtype | attack | AUROC in float32 | change | 95 % | rank correlation | held |\n"
        "|---|---|---:|---:|---|---:|---|"
    )
    for key in sorted(k for k in kept if k.startswith("precision.")):
        _, dtype, attack = key.split(".")
        row = kept[key]
        held = row["lo"] <= 0 <= row["hi"] and abs(row["change"]) < 0.01
        yield (
            f"| {dtype} | {attack} | {row['float32']:.3f} | {row['change']:+.4f} | "
            f"{row['lo']:+.4f} to {row['hi']:+.4f} | {row['rank_correlation']:.4f} | "
            f"{'yes' if held else 'no'} |"
        )
    yield ""
