"""The benchmarks of `make bench` by name: each takes a number of rounds and gives flat figures.

A benchmark imports what it measures when it runs, so that the command starts at once.
"""

from __future__ import annotations

from collections.abc import Callable

from mia_bench.bench.results import Figures


def unet(rounds: int) -> Figures:
    """Speed of the bare U-Net."""
    from mia_bench.bench import unet_baseline
    from mia_bench.bench.workloads import tiny

    workload = tiny().cached()
    chunk = unet_baseline.best_chunk(workload, 128)
    return {
        "unet.best_chunk": chunk,
        "unet.mflop": unet_baseline.flops(workload, chunk) / 1e6,
        "unet.share_of_matmul": unet_baseline.share_of_matmul(workload, chunk, rounds),
    }


def overhead(rounds: int) -> Figures:
    """Attacks over the bare U-Net."""
    from mia_bench.bench.overhead import ATTACKS
    from mia_bench.bench.overhead import overhead as measure
    from mia_bench.bench.unet_baseline import best_chunk
    from mia_bench.bench.workloads import tiny

    workload = tiny().cached()
    chunk = best_chunk(workload, 128)
    return {f"overhead.{name}": measure(workload, name, rounds, chunk) for name in ATTACKS}


def sharing(rounds: int) -> Figures:
    """All attacks in one pass over one pass each."""
    from mia_bench.bench.overhead import sharing as measure
    from mia_bench.bench.workloads import all_attacks, tiny

    few_rounds, attacks = max(3, rounds // 2), all_attacks()
    warm = measure(tiny(8).cached(), attacks, few_rounds)
    cold = measure(tiny(8), attacks, few_rounds)
    return {
        "sharing.time": warm.time,
        "sharing.evaluations": warm.evaluations,
        "sharing.excess": warm.excess,
        "sharing.elsewhere": warm.elsewhere,
        "sharing.cold": cold.time,
    }


def unbatched(rounds: int) -> Figures:
    """Attacks as released scripts run them over ours."""
    from mia_bench.bench.overhead import UNBATCHED, predict_step, unbatched_scores
    from mia_bench.bench.timing import ratio
    from mia_bench.bench.workloads import tiny

    rows, unbatched_rows = 64, 4
    workload = tiny(rows)
    images = workload.batch.image[:unbatched_rows]
    captions = workload.batch.caption[:unbatched_rows]
    figures = {}
    for name in UNBATCHED:

        def one_by_one(name: str = name) -> None:
            unbatched_scores(workload.target, images, captions, name)

        measured = ratio(one_by_one, predict_step(workload, name), max(3, rounds // 2))
        figures[f"unbatched.{name}"] = measured.times(rows / unbatched_rows)
    return figures


def gradients(rounds: int) -> Figures:
    """GSA2 over forward plus backward, through activations and of weights."""
    from mia_bench.bench.overhead import over_gradients
    from mia_bench.bench.workloads import tiny

    workload, few_rounds = tiny(16).cached(), max(3, rounds // 2)
    return {
        "gradients.gsa2": over_gradients(workload, few_rounds),
        "gradients.gsa2_weights": over_gradients(workload, few_rounds, of_weights=True),
    }


def training(rounds: int) -> Figures:
    """Fine-tuning over bare steps, and diffusers' script over fine-tuning."""
    from mia_bench.bench import training_step
    from mia_bench.bench.workloads import tiny

    few_rounds = max(3, rounds // 2)
    return {
        # Start, validation and saved weights are spread over the steps, a fifth of a run's.
        "finetune.vs_bare": training_step.over_bare_steps(tiny().cached(), 60, few_rounds),
        "finetune.vs_diffusers": training_step.script_over_finetune(tiny(), 20, few_rounds),
    }


def dataset_size(_: int) -> Figures:
    """How time and memory grow with the rows of a pass."""
    from mia_bench.bench.scale import memory

    sizes = memory.DATASET_SIZES
    passes = {rows: memory.measure_pass(rows, "loss") for rows in (*sizes, 50_000)}
    seconds = {rows: measured["seconds"] for rows, measured in passes.items()}
    low, high = passes[1_000]["peak"], passes[50_000]["peak"]
    return {
        "dataset_size.exponent": memory.growth_exponent(sizes, [seconds[rows] for rows in sizes]),
        # Between large sizes, without what a pass costs before its first row.
        "dataset_size.exponent_large": memory.growth_exponent(
            (10_000, 50_000), [seconds[rows] for rows in (10_000, 50_000)]
        ),
        "dataset_size.peak_growth": high / low,
        "dataset_size.peak_mb": high / 1e6,
        "dataset_size.bytes_per_row": (high - low) / 49_000,
    }


def memory(_: int) -> Figures:
    """Peak memory of each attack."""
    from mia_bench.bench.scale.memory import attack_peaks

    return {f"memory.{name}": peak / 1e6 for name, peak in attack_peaks().items()}


def startup(rounds: int) -> Figures:
    """Seconds until --help and a plan are printed."""
    from mia_bench.bench.timing import startup_seconds

    return {
        "startup.help_seconds": startup_seconds("--help", rounds=rounds),
        "startup.plan_seconds": startup_seconds("plan_only=true", rounds=rounds),
    }


def torch_options(rounds: int) -> Figures:
    """The U-Net with torch's options over without (compiles it)."""
    from mia_bench.bench.unet_baseline import torch_options as measure
    from mia_bench.bench.workloads import tiny

    ratios = measure(tiny(), 64, rounds, with_compile=True)
    return {f"torch_options.{name}": value for name, value in ratios.items()}


def ddp(_: int) -> Figures:
    """One process over two, on one model."""
    from mia_bench.bench.scale.runs import ddp_ceiling, ddp_speedup

    speedup, ceiling = ddp_speedup(400), ddp_ceiling(8_000)
    return {"ddp.speedup": speedup, "ddp.ceiling": ceiling, "ddp.share": speedup / ceiling}


def parallel_models(_: int) -> Figures:
    """One model after the other over two in parallel."""
    from mia_bench.bench.scale.runs import parallel_models as measure

    return {f"parallel_models.{stage}": gain for stage, gain in measure().items()}


def resume(_: int) -> Figures:
    """A pass over 100,000 rows that is killed half-way."""
    from mia_bench.bench.scale.runs import resume as measure

    return {f"resume.{name}": value for name, value in measure(100_000).items()}


def stored_runs(_: int) -> Figures:
    """A sweep over 1,000 finished runs, and status of 10,000."""
    from mia_bench.bench.scale.runs import stored_runs as measure

    return {f"stored_runs.{name}": value for name, value in measure(1_000, 10_000).items()}


def metrics(_: int) -> Figures:
    """Metrics of up to a million scores."""
    from mia_bench.bench.scale.runs import measure_metrics

    figures: Figures = {}
    for rows in (10_000, 100_000, 1_000_000):
        figures |= {f"metrics.{rows}.{name}": v for name, v in measure_metrics(rows).items()}
    return figures


def cost_model(_: int) -> Figures:
    """The model of docs/scale.md."""
    from mia_bench.bench import timing
    from mia_bench.bench.scale import cost_model as model
    from mia_bench.bench.workloads import attack, tiny

    # The parts are timed by the clock that times the passes: processor time.
    clock = timing.clock_in_use()
    timing.use_clock("process")
    prices, rows = model.measure_prices(tiny()), 96
    figures: Figures = {
        f"cost_model.{name}.{'warm' if cached else 'cold'}": model.measured_over_model(
            name, rows, prices, cached
        )
        for name in model.ATTACKS
        for cached in (True, False)
    }
    timing.use_clock(clock)
    queries = model.queries_per_row([attack(name) for name in model.CAMPAIGN])
    flop = model.flop_of_sd15()
    figures |= {f"campaign.{kind}": queries[kind] for kind in model.QUERY_KINDS}
    figures |= {f"campaign.gflop.{kind}": flop.of[kind] / 1e9 for kind in model.QUERY_KINDS}
    return figures | {"campaign.tflop_per_row": flop.total(queries) / 1e12}


def large(rounds: int) -> Figures:
    """A U-Net of 860 M parameters (4 GB of memory, an hour on a CPU)."""
    from mia_bench.bench.overhead import ATTACKS, predict_step, unbatched_scores
    from mia_bench.bench.overhead import overhead as measure
    from mia_bench.bench.timing import ratio
    from mia_bench.bench.unet_baseline import flops, share_of_matmul
    from mia_bench.bench.workloads import sd15

    few_rounds, chunk = max(1, rounds // 4), 2
    cold = sd15(chunk)
    target, batch = cold.target, cold.batch
    target.chunk = chunk
    figures: Figures = {
        "large.gflop": flops(cold, 1) / 1e9,
        "large.share_of_matmul": share_of_matmul(cold, chunk, 3),
        "large.cold.clid": measure(cold, "clid", few_rounds, chunk, warmup_pairs=0),
        "large.unbatched.clid": ratio(
            lambda: unbatched_scores(target, batch.image, batch.caption, "clid"),
            predict_step(cold, "clid"),
            few_rounds,
            warmup_pairs=0,
        ),
    }
    warm = cold.cached()
    for name in ATTACKS:
        figures[f"large.overhead.{name}"] = measure(warm, name, few_rounds, chunk, warmup_pairs=0)
    return figures


DEFAULT: dict[str, Callable[[int], Figures]] = {
    "unet": unet,
    "overhead": overhead,
    "sharing": sharing,
    "unbatched": unbatched,
    "gradients": gradients,
    "training": training,
    "dataset_size": dataset_size,
    "startup": startup,
}
BENCHMARKS = DEFAULT | {
    "torch_options": torch_options,
    "memory": memory,
    "ddp": ddp,
    "parallel_models": parallel_models,
    "resume": resume,
    "stored_runs": stored_runs,
    "metrics": metrics,
    "cost_model": cost_model,
    "large": large,
}
