"""Speed of a bare network at the best chunk, as a share of what a large matrix product reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from mia_bench.bench.timing import Work, elapsed
from mia_bench.bench.workloads import Workload
from mia_bench.target import Target
from mia_bench.target.chunk_tuning import tuned_chunk
from mia_bench.target.precision import scoring_in
from mia_bench.utils.precision import products

FULL_PRECISION = ("float32", "tf32")
PRODUCT_SIDE = {"real": 8192, "small": 256}
PRODUCT_ROUNDS = 7
REHEARSED_CHUNK_ROWS = 8


@dataclass(frozen=True)
class SpeedSetting:
    """Where and how large: `size` is "real" or "small", `folder` remembers tuned chunks."""

    device: torch.device
    size: str
    rounds: int
    folder: Path

    @property
    def dtypes(self) -> tuple[str, ...]:
        """eval.dtype's values to measure: on a CPU two, to rehearse."""
        gpu_alone = ("tf32", "float16") if self.device.type == "cuda" else ()
        return ("float32", "bfloat16", *gpu_alone)

    def chunk(self, target: Target) -> int:
        """Rows per call: the fastest, where there is something to find."""
        return tuned_chunk(target, self.folder) if self.size == "real" else REHEARSED_CHUNK_ROWS


def settled(work: Work, device: torch.device) -> Callable[[], None]:
    """`work` and the wait until the device has done it."""

    def run() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


@contextmanager
def computing_in(dtype: str, target: Target) -> Iterator[None]:
    """Inside, the network computes in `dtype`: float32, tf32, bfloat16 or float16."""
    if dtype in FULL_PRECISION:
        target.compute_in(torch.float32)
    with scoring_in(None if dtype == "float32" else dtype, target):
        yield


def bare_loop(workload: Workload, evaluations: int, chunk: int) -> Callable[[], None]:
    """`evaluations` of the network in calls of `chunk` rows, on inputs in its own precision."""
    target, captions, device = workload.target, workload.batch.caption, workload.target.device
    rows = min(chunk, evaluations)
    z = torch.randn(rows, *target.latent_shape, device=device).to(target.dtype)
    time = target.schedule.network_time(torch.full((rows,), 450, device=device))
    cond = target.embed([captions[i % len(captions)] for i in range(rows)])
    hidden = cond.hidden.to(target.dtype)
    extra = {name: value.to(target.dtype) for name, value in cond.extra.items()}
    call = target.predictor.call

    @torch.no_grad()
    def run() -> None:
        left = evaluations
        while left > 0:
            part = slice(0, min(rows, left))
            parts = {name: value[part] for name, value in extra.items()}
            call(target.unet, z[part], time[part], hidden[part], parts)
            left -= rows

    return settled(run, device)


def flop_of_evaluation(workload: Workload) -> float:
    """Floating-point operations of one evaluation, counted by torch."""
    counter = FlopCounterMode(display=False)
    with counter:
        bare_loop(workload, 1, 1)()
    return float(counter.get_total_flops())


def product_rate(dtype: str, side: int, device: torch.device) -> float:
    """FLOP/s of a product of two square matrices, the best of several."""
    kind = torch.float32 if dtype in FULL_PRECISION else getattr(torch, dtype)
    a = torch.randn(side, side, device=device).to(kind)
    multiply = settled(lambda: a @ a, device)
    with products("tf32" if dtype == "tf32" else "ieee"):
        multiply()
        seconds = min(elapsed(multiply) for _ in range(PRODUCT_ROUNDS))
    return 2.0 * side**3 / seconds


def speed(workload: Workload, setting: SpeedSetting) -> dict[str, float]:
    """By dtype: rows per call, milliseconds an evaluation, TFLOP/s, and the share of a product's.

    `gflop` is of one evaluation, `parameters_millions` of the network.
    """
    from mia_bench.bench.gpu.networks import parameters

    target = workload.target
    flop = flop_of_evaluation(workload)
    figures = {
        "parameters_millions": parameters(target.unet) / 1e6,
        "gflop": flop / 1e9,
    }
    for dtype in setting.dtypes:
        with computing_in(dtype, target):
            chunk = setting.chunk(target)
            loop = bare_loop(workload, chunk, chunk)
            loop()
            seconds = min(elapsed(loop) for _ in range(setting.rounds)) / chunk
        peak = product_rate(dtype, PRODUCT_SIDE[setting.size], setting.device)
        figures |= {
            f"{dtype}.chunk": chunk,
            f"{dtype}.milliseconds": 1e3 * seconds,
            f"{dtype}.tflops": flop / seconds / 1e12,
            f"{dtype}.product_tflops": peak / 1e12,
            f"{dtype}.share_of_product": flop / seconds / peak,
        }
    return figures
