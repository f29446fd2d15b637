"""The bare U-Net: the loop nothing can be faster than, and how near it comes to the machine.

`python -m mia_bench.bench.bare EVALUATIONS` prints the wall seconds of so many on the tiny model.
Inputs are rows in memory of their own, as a pass has them: rows that share one caption's memory
are slower (`expand` leaves them without a layout), which would flatter every ratio.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mia_bench.bench.clock import elapsed
from mia_bench.bench.subjects import Workload

CHUNKS = (4, 8, 16, 32, 64, 128)
MATMUL = 1536


def loop(
    subject: Workload,
    evaluations: int,
    chunk: int,
    unet: nn.Module | None = None,
    dtype: torch.dtype = torch.float32,
) -> Callable[[], None]:
    """`evaluations` U-Net evaluations in calls of `chunk`, on inputs that are there already.

    `unet` in place of the subject's, with inputs of `dtype`.
    """
    target, captions = subject.target, subject.batch.caption
    z = torch.randn(chunk, *target.latent_shape, device=target.device)
    t = torch.full((chunk,), 450, device=target.device)
    hidden = target.embed([captions[i % len(captions)] for i in range(chunk)]).hidden
    z, hidden, asked = z.to(dtype), hidden.to(dtype), unet or target.unet

    @torch.no_grad()
    def run() -> None:
        left = evaluations
        while left > 0:
            rows = min(chunk, left)
            asked(z[:rows], t[:rows], encoder_hidden_states=hidden[:rows], return_dict=False)
            left -= rows

    return run


def best_chunk(subject: Workload, most: int, rounds: int = 3) -> int:
    """The chunk with the least time per evaluation, of those up to `most`."""
    chunks = [c for c in CHUNKS if c <= most] or [most]
    loops = {c: loop(subject, c, c) for c in chunks}
    for run in loops.values():
        run()
    pace = {c: min(elapsed(run) for _ in range(rounds)) / c for c, run in loops.items()}
    return min(pace, key=pace.__getitem__)


def flops(subject: Workload, chunk: int) -> float:
    """Floating-point operations of one U-Net evaluation, counted by torch."""
    counter = FlopCounterMode(display=False)
    with counter:
        loop(subject, chunk, chunk)()
    return counter.get_total_flops() / chunk


def share_of_matmul(subject: Workload, chunk: int, rounds: int = 5) -> float:
    """GFLOP/s of the U-Net over GFLOP/s of a large float32 matrix product, in turn."""
    device = subject.target.device
    a = torch.randn(MATMUL, MATMUL, device=device)
    run = loop(subject, chunk, chunk)
    work, product = flops(subject, chunk) * chunk, 2.0 * MATMUL**3
    shares = []
    for _ in range(rounds):
        rate = work / elapsed(run)
        shares.append(rate * elapsed(lambda: a @ a) / product)
    return sorted(shares)[rounds // 2]


def main(evaluations: int) -> None:
    import time

    from mia_bench.bench.subjects import tiny

    run = loop(tiny(), evaluations, 64)
    began = time.perf_counter()
    run()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(int(sys.argv[1]))
