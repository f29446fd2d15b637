"""Attacks on a network of real size: over the bare network, and attack=all with memory and codec.

Of attack=all, images are encoded in the pass, as in the first run on a data set.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mia_bench.attacks import Access, Attack
from mia_bench.bench import workloads
from mia_bench.bench.gpu.networks import keep_latents
from mia_bench.bench.gpu.speed import SpeedSetting, bare_loop, computing_in, settled
from mia_bench.bench.overhead import distinct_attacks, predict_step
from mia_bench.bench.timing import Ratio, ratio
from mia_bench.bench.workloads import Workload
from mia_bench.target import Latents
from mia_bench.utils import memory

# Attacks whose only work on a device is the network's, once latents are cached.
ON_LATENTS = ("loss", "mc", "clid", "noise_agg", "pia", "secmi", "pfami", "sima")


def overheads(workload: Workload, setting: SpeedSetting, dtype: str) -> dict[str, Ratio]:
    """By attack, its time on cached latents over as many evaluations of the bare network."""
    target = keep_latents(workload).target
    with computing_in(dtype, target):
        target.chunk = setting.chunk(target)
        figures = {}
        for name in ON_LATENTS:
            run = settled(predict_step(workload, name), setting.device)
            before = target.queries["forward"]
            run()
            evaluations = target.queries["forward"] - before
            loop = bare_loop(workload, evaluations, target.chunk)
            figures[f"{dtype}.{name}"] = ratio(run, loop, setting.rounds)
    return figures


class TimedCodec(nn.Module):
    """An image codec that adds up the `seconds` which it takes, the device's work included."""

    def __init__(self, codec: Latents, device: torch.device) -> None:
        super().__init__()
        self.codec, self.device, self.seconds = codec, device, 0.0

    def encode(self, image: Tensor) -> Tensor:
        return self._timed(self.codec.encode, image)

    def decode(self, z0: Tensor) -> Tensor:
        return self._timed(self.codec.decode, z0)

    def _timed(self, work: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        done: list[Tensor] = []
        settled(lambda: None, self.device)()  # what was asked before is not the codec's
        began = time.perf_counter()
        settled(lambda: done.append(work(rows)), self.device)()
        self.seconds += time.perf_counter() - began
        return done[0]


def all_attacks(workload: Workload, setting: SpeedSetting, dtype: str) -> dict[str, float]:
    """Of one pass of attack=all: seconds and evaluations an image, peak memory, codec's share.

    `peak_gigabytes` is of the device, on a CPU of the process.
    """
    target, attacks = workload.target, distinct_attacks(workloads.all_attacks())
    codec = TimedCodec(target.latents, setting.device)
    rows = len(workload.batch)
    with computing_in(dtype, target):
        target.chunk = setting.chunk(target)
        _load_all_parts(workload)
        target.latents, before = codec, target.queries.copy()
        memory.free()
        memory.forget_peak()
        began = time.perf_counter()
        try:
            settled(lambda: _one_pass(workload, attacks), setting.device)()
        finally:
            target.latents = codec.codec
            target.forget()
        seconds = time.perf_counter() - began
    counts = target.queries - before
    return {
        f"{dtype}.seconds_an_image": seconds / rows,
        f"{dtype}.images": rows,
        f"{dtype}.evaluations_an_image": counts["forward"] / rows,
        f"{dtype}.gradients_an_image": counts["backward"] / rows,
        f"{dtype}.codec_share": codec.seconds / seconds,
        f"{dtype}.peak_gigabytes": memory.peak()[1] / 1e9,
    }


def _load_all_parts(workload: Workload) -> None:
    """The codec's halves are loaded, and kernels found, before anything is timed."""
    target, batch = workload.target, workload.batch
    one = batch.image[:1].to(target.device)
    with torch.no_grad():
        target.decode(target.encode(one))
    bare_loop(workload, target.chunk, target.chunk)()


def _one_pass(workload: Workload, attacks: list[Attack]) -> None:
    workload.target.forget()
    for attack in attacks:
        with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
            features = attack.features(workload.target, workload.batch)
        for values in features.values():
            values.detach().float().cpu().numpy()
