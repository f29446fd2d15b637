"""The parts of `make bench`: each takes a number of rounds and gives flat figures."""

from __future__ import annotations

from collections.abc import Callable

from mia_bench.bench.kept import Figures


def bare(rounds: int) -> Figures:
    from mia_bench.bench import bare as measured
    from mia_bench.bench.subjects import tiny

    subject = tiny().cached()
    chunk = measured.best_chunk(subject, 128)
    return {
        "bare.best_chunk": chunk,
        "bare.mflop": measured.flops(subject, chunk) / 1e6,
        "bare.share_of_matmul": measured.share_of_matmul(subject, chunk, rounds),
    }


def overhead(rounds: int) -> Figures:
    from mia_bench.bench.bare import best_chunk
    from mia_bench.bench.overhead import ATTACKS
    from mia_bench.bench.overhead import overhead as measured
    from mia_bench.bench.subjects import tiny

    subject = tiny().cached()
    chunk = best_chunk(subject, 128)
    return {f"overhead.{name}": measured(subject, name, rounds, chunk) for name in ATTACKS}


def sharing(rounds: int) -> Figures:
    from mia_bench.bench.sharing import sharing as measured
    from mia_bench.bench.subjects import everything, tiny

    few, attacks = max(3, rounds // 2), everything()
    warm, cold = measured(tiny(8).cached(), attacks, few), measured(tiny(8), attacks, few)
    return {
        "sharing.time": warm.time,
        "sharing.evaluations": warm.evaluations,
        "sharing.excess": warm.excess,
        "sharing.cold": cold.time,
    }


def literal(rounds: int) -> Figures:
    from mia_bench.bench.clock import ratio
    from mia_bench.bench.literal import LITERAL, loop
    from mia_bench.bench.overhead import scoring
    from mia_bench.bench.subjects import tiny

    rows, few = 64, 4
    subject = tiny(rows)
    images, captions = subject.batch.image[:few], subject.batch.caption[:few]
    found = {}
    for name in LITERAL:

        def one_by_one(name: str = name) -> None:
            loop(subject.target, images, captions, name)

        measured = ratio(one_by_one, scoring(subject, name), max(3, rounds // 2))
        found[f"literal.{name}"] = measured.times(rows / few)
    return found


def training(rounds: int) -> Figures:
    from mia_bench.bench import training as measured
    from mia_bench.bench.subjects import tiny

    few = max(3, rounds // 2)
    return {
        # the start, a validation and the saved weights are spread over them, a fifth of a run's
        "finetune.vs_bare": measured.against_bare(tiny().cached(), 60, few),
        "finetune.vs_diffusers": measured.against_script(tiny(), 20, few),
    }


def growth(_: int) -> Figures:
    from mia_bench.bench import growth as measured

    passes = {rows: measured.measure(rows, "loss") for rows in (*measured.SIZES, 50_000)}
    seconds = [passes[rows]["seconds"] for rows in measured.SIZES]
    few, many = passes[1_000]["peak"], passes[50_000]["peak"]
    return {
        "samples.exponent": measured.exponent(measured.SIZES, seconds),
        # without what a pass costs before its first row
        "samples.exponent_large": measured.exponent(
            (10_000, 50_000), [passes[rows]["seconds"] for rows in (10_000, 50_000)]
        ),
        "memory.growth": many / few,
        "memory.peak_mb": many / 1e6,
        "memory.bytes_per_row": (many - few) / 49_000,
    }


def memory(_: int) -> Figures:
    from mia_bench.bench.memory import peaks

    return {f"memory.attack.{name}": peak / 1e6 for name, peak in peaks().items()}


def start(rounds: int) -> Figures:
    from mia_bench.bench.start import seconds_of

    return {
        "start.help_seconds": seconds_of("--help", rounds=rounds),
        "start.plan_seconds": seconds_of("plan_only=true", rounds=rounds),
    }


def levers(rounds: int) -> Figures:
    from mia_bench.bench.levers import levers as measured
    from mia_bench.bench.subjects import tiny

    found = measured(tiny(), 64, rounds, compiled=True)
    return {f"lever.{name}": value for name, value in found.items()}


def ddp(_: int) -> Figures:
    from mia_bench.bench.scale import ceiling, processes

    speedup, most = processes(400), ceiling(8_000)
    return {"ddp.speedup": speedup, "ddp.ceiling": most, "ddp.share": speedup / most}


def beside(_: int) -> Figures:
    from mia_bench.bench.abreast import abreast

    return {f"beside.{stage}": gain for stage, gain in abreast().items()}


def resume(_: int) -> Figures:
    from mia_bench.bench.scale import resume as measured

    return {f"resume.{name}": value for name, value in measured(100_000).items()}


def stored(_: int) -> Figures:
    from mia_bench.bench.scale import stored as measured

    return {f"stored.{name}": value for name, value in measured(1_000, 10_000).items()}


def cost(_: int) -> Figures:
    from mia_bench.bench import clock
    from mia_bench.bench import cost as model
    from mia_bench.bench.subjects import attack, tiny

    before = clock.kind()
    clock.use("process")  # as `timed` counts
    priced, rows = model.prices(tiny()), 96
    found: Figures = {
        f"cost.{name}.{'warm' if cached else 'cold'}": model.checked(name, rows, priced, cached)
        for name in model.ATTACKS
        for cached in (True, False)
    }
    clock.use(before)
    asked = model.questions([attack(name) for name in model.CAMPAIGN])
    flop = model.flop_of_sd15()
    found |= {f"campaign.{kind}": asked[kind] for kind in model.KINDS}
    found |= {f"campaign.gflop.{kind}": flop.of[kind] / 1e9 for kind in model.KINDS}
    return found | {"campaign.tflop_per_row": flop(asked) / 1e12}


def scores(_: int) -> Figures:
    from mia_bench.bench.scale import scoring

    found: Figures = {}
    for rows in (10_000, 100_000, 1_000_000):
        found |= {f"scores.{rows}.{name}": value for name, value in scoring(rows).items()}
    return found


def large(rounds: int) -> Figures:
    from mia_bench.bench.bare import flops, share_of_matmul
    from mia_bench.bench.clock import ratio
    from mia_bench.bench.literal import loop as one_by_one
    from mia_bench.bench.overhead import ATTACKS, scoring
    from mia_bench.bench.overhead import overhead as measured
    from mia_bench.bench.subjects import sd15

    few, chunk = max(1, rounds // 4), 2
    cold = sd15(chunk)
    target, batch = cold.target, cold.batch
    target.chunk = chunk
    found: Figures = {
        "large.gflop": flops(cold, 1) / 1e9,
        "large.share_of_matmul": share_of_matmul(cold, chunk, 3),
        "large.cold.clid": measured(cold, "clid", few, chunk, warm=0),
        "large.literal.clid": ratio(
            lambda: one_by_one(target, batch.image, batch.caption, "clid"),
            scoring(cold, "clid"),
            few,
            warm=0,
        ),
    }
    warm = cold.cached()
    return found | {f"large.overhead.{n}": measured(warm, n, few, chunk, warm=0) for n in ATTACKS}


DEFAULT: dict[str, Callable[[int], Figures]] = {
    "bare": bare,
    "overhead": overhead,
    "sharing": sharing,
    "literal": literal,
    "training": training,
    "growth": growth,
    "start": start,
}
PARTS = DEFAULT | {
    "levers": levers,
    "memory": memory,
    "ddp": ddp,
    "beside": beside,
    "resume": resume,
    "stored": stored,
    "scores": scores,
    "cost": cost,
    "large": large,
}
