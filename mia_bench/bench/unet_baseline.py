"""The bare U-Net, which no attack can be faster than, and what options of torch do for it.

Inputs are rows in memory of their own, as a pass has them: rows that share one caption's memory
are slower (`expand` leaves them without a layout), which would flatter every ratio.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mia_bench.bench.timing import Ratio, elapsed, ratio
from mia_bench.bench.workloads import Workload

CHUNK_SIZES = (4, 8, 16, 32, 64, 128)
MATRIX_SIDE = 1536


def unet_loop(
    workload: Workload,
    evaluations: int,
    chunk: int,
    unet: nn.Module | None = None,
    dtype: torch.dtype = torch.float32,
) -> Callable[[], None]:
    """`evaluations` U-Net evaluations in calls of `chunk` rows, on inputs that are there already.

    `unet` in place of the workload's, with inputs of `dtype`.
    """
    target, captions = workload.target, workload.batch.caption
    z = torch.randn(chunk, *target.latent_shape, device=target.device)
    t = torch.full((chunk,), 450, device=target.device)
    hidden = target.embed([captions[i % len(captions)] for i in range(chunk)]).hidden
    z, hidden, network = z.to(dtype), hidden.to(dtype), unet or target.unet

    @torch.no_grad()
    def run() -> None:
        left = evaluations
        while left > 0:
            rows = min(chunk, left)
            network(z[:rows], t[:rows], encoder_hidden_states=hidden[:rows], return_dict=False)
            left -= rows

    return run


def best_chunk(workload: Workload, most: int, rounds: int = 3) -> int:
    """The rows per call with the least time per evaluation, of those up to `most`."""
    chunks = [c for c in CHUNK_SIZES if c <= most] or [most]
    loops = {c: unet_loop(workload, c, c) for c in chunks}
    for run in loops.values():
        run()
    seconds = {c: min(elapsed(run) for _ in range(rounds)) / c for c, run in loops.items()}
    return min(seconds, key=seconds.__getitem__)


def flops(workload: Workload, chunk: int) -> float:
    """Floating-point operations of one U-Net evaluation, counted by torch."""
    counter = FlopCounterMode(display=False)
    with counter:
        unet_loop(workload, chunk, chunk)()
    return counter.get_total_flops() / chunk


def share_of_matmul(workload: Workload, chunk: int, rounds: int = 5) -> float:
    """GFLOP/s of the U-Net over GFLOP/s of a large float32 matrix product, in turn."""
    device = workload.target.device
    a = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device)
    run = unet_loop(workload, chunk, chunk)
    unet_flop, product_flop = flops(workload, chunk) * chunk, 2.0 * MATRIX_SIDE**3
    shares = []
    for _ in range(rounds):
        rate = unet_flop / elapsed(run)
        shares.append(rate * elapsed(lambda: a @ a) / product_flop)
    return sorted(shares)[rounds // 2]


def seconds_of_evaluations(evaluations: int) -> float:
    """Wall seconds of so many evaluations of the tiny model, inputs made before."""
    from mia_bench.bench.workloads import tiny

    run = unet_loop(tiny(), evaluations, 64)
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def torch_options(
    workload: Workload, chunk: int, rounds: int, with_compile: bool
) -> dict[str, Ratio]:
    """Seconds of the bare U-Net with an option of torch over seconds as it is used.

    Below 1 the option pays. What is in use already is measured by leaving it out. `with_compile`:
    torch.compile too, which takes minutes.
    """
    as_used = unet_loop(workload, chunk, chunk)
    changes: dict[str, Callable[[nn.Module], nn.Module]] = {
        "contiguous": lambda unet: unet.to(memory_format=torch.contiguous_format),
        "plain_attention": _plain_attention,
    }
    if with_compile:
        changes["compile"] = _compiled
    ratios = {}
    for name, change in changes.items():
        unet = change(copy.deepcopy(workload.target.unet))
        changed = unet_loop(workload, chunk, chunk, unet)
        # The first calls of a compiled network compile it.
        ratios[name] = ratio(changed, as_used, rounds, warmup_pairs=3)
    ratios["inference_mode"] = ratio(_in_inference_mode(as_used), as_used, rounds)
    for dtype in (torch.bfloat16, torch.float16):
        unet = copy.deepcopy(workload.target.unet).to(dtype)
        half = unet_loop(workload, chunk, chunk, unet, dtype)
        ratios[str(dtype).removeprefix("torch.")] = ratio(half, as_used, rounds)
    return ratios


def _compiled(unet: nn.Module) -> nn.Module:
    unet.compile()
    return unet


def _plain_attention(unet: nn.Module) -> nn.Module:
    from diffusers.models.attention_processor import AttnProcessor

    unet.set_attn_processor(AttnProcessor())  # type: ignore[operator]
    return unet


def _in_inference_mode(run: Callable[[], None]) -> Callable[[], None]:
    def inside() -> None:
        with torch.inference_mode():
            run()

    return inside
