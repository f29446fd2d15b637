"""The cost model of docs/scale.md: checked against passes that are run, then applied.

    seconds = rows x (NFE x u + encodings x e + decodings x d + texts x w + images x p)
              + shards x s + f
u, e, d, w: one row through U-Net, encoder, decoder, text tower; p: opening an image; s: a shard;
f: a pass over nothing. The same sum of FLOP, over FLOP/s, is what a campaign takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mia_bench.attacks import Attack
from mia_bench.bench import workloads
from mia_bench.bench.scale.memory import BATCH_ROWS
from mia_bench.bench.timing import elapsed
from mia_bench.bench.unet_baseline import unet_loop
from mia_bench.target import Target

ATTACKS = ("loss", "clid", "secmi", "pfami", "pia", "noise_agg")
CAMPAIGN = (
    *("clid", "noise_agg", "drc", "loss", "mc"),
    *("secmi", "pia", "pfami", "sima", "rediffuse"),
)
QUERY_KINDS = ("forward", "encode", "decode", "embed")


@dataclass(frozen=True)
class Prices:
    """`of` one row by kind of query, in seconds or in FLOP; the others in seconds."""

    of: dict[str, float]
    image: float = 0.0
    shard: float = 0.0
    start: float = 0.0

    def total(self, queries: dict[str, float], images: float = 0, shards: float = 0) -> float:
        """Seconds (or FLOP) of a pass with so many queries, images opened and shards written."""
        of_queries = sum(queries[kind] * self.of[kind] for kind in QUERY_KINDS)
        return of_queries + images * self.image + shards * self.shard + self.start


def measure_prices(workload: workloads.Workload) -> Prices:
    """Seconds of the parts, each alone, on whole batches."""
    target, batch = workload.target, workload.batch
    rows, z0 = len(batch), workload.target.encode(batch.image)
    chunk = target.chunk
    captions = [f"{caption} {i}" for i, caption in enumerate(batch.caption)]
    with torch.no_grad():
        of = {
            "forward": _median_seconds(unet_loop(workload, 2 * chunk, chunk)) / (2 * chunk),
            "encode": _median_seconds(lambda: target.latents.encode(batch.image[:BATCH_ROWS]))
            / BATCH_ROWS,
            "decode": _median_seconds(lambda: target.latents.decode(z0[:BATCH_ROWS])) / BATCH_ROWS,
            "embed": _median_seconds(lambda: target.text.embed(captions)) / rows,
        }
    items = workloads.drawings(BATCH_ROWS)
    image = _median_seconds(lambda: _open_images(items)) / BATCH_ROWS
    with TemporaryDirectory() as folder:
        shard = _median_seconds(lambda: _write_shard(Path(folder)))
    prices = Prices(of, image, shard)
    # What a pass over a single row takes beyond its queries is what a pass costs to start.
    seconds, queries, _ = timed_pass("loss", 1, cached=True)
    return replace(prices, start=max(0.0, seconds - prices.total(queries, 0, 1)))


def _median_seconds(work: Callable[[], object]) -> float:
    work()
    return float(np.median([elapsed(work) for _ in range(5)]))


def _open_images(items: workloads.Items) -> None:
    from mia_bench.data.pictures.loader import decode

    decode(items, workloads.RESOLUTION)


def _write_shard(folder: Path) -> None:
    from mia_bench.storage.feature_table import Table, write_table

    rows = np.zeros((BATCH_ROWS, 15), np.float32)
    table = Table(("openmoji:0123456789ab",) * BATCH_ROWS, {"loss": rows})
    write_table(folder / "x.parquet", table)


def measured_over_model(name: str, rows: int, prices: Prices, cached: bool) -> float:
    """Seconds of a real predict pass over those of the model."""
    seconds, queries, images = timed_pass(name, rows, cached)
    return seconds / prices.total(queries, images, -(-rows // BATCH_ROWS))


def timed_pass(name: str, rows: int, cached: bool) -> tuple[float, dict[str, float], int]:
    """Processor seconds of a predict pass, its queries by kind, and the images it opened.

    Networks are loaded before; where not `cached`, latents and texts are encoded.
    """
    from mia_bench.config.schema import TrainerOptions
    from mia_bench.extraction.predict import run_pass

    target, items = workloads.tiny_target(), workloads.drawings(rows)
    if cached:
        workloads.Workload(target, workloads.tiny(1).batch).cached()
    # A first pass fills the caches, or at least loads what the first batch of a process loads.
    _warm_up(target, items if cached else items[:1], name)
    attack, before = workloads.attack(name), target.queries.copy()
    with TemporaryDirectory() as folder:
        destinations = {name: (attack, Path(folder))}
        options = TrainerOptions(accelerator="cpu")
        began = time.process_time()
        run_pass(target, destinations, items, workloads.RESOLUTION, BATCH_ROWS, options, "bench")
        seconds = time.process_time() - began
    queries = {kind: float((target.queries - before)[kind]) for kind in QUERY_KINDS}
    return seconds, queries, rows if queries["encode"] else 0


def _warm_up(target: Target, items: workloads.Items, name: str) -> None:
    from mia_bench.data.pictures.loader import batch_of

    attack = workloads.attack(name)
    for begin in range(0, len(items), BATCH_ROWS):
        batch = batch_of(items[begin : begin + BATCH_ROWS], workloads.RESOLUTION)
        with torch.no_grad():
            attack.features(target, batch)
        target.forget()


def queries_per_row(attacks: list[Attack]) -> dict[str, float]:
    """Queries of one row by kind, of all attacks in one pass, counted on the tiny model."""
    workload = workloads.tiny(2)
    for attack in attacks:
        with torch.no_grad():
            attack.features(workload.target, workload.batch)
    counts = workload.target.queries
    return {kind: counts[kind] / len(workload.batch) for kind in QUERY_KINDS}


def flop_of_sd15(latent: int = 64) -> Prices:
    """FLOP of one row through Stable Diffusion 1.5 at 8 x `latent` pixels; nothing is computed."""
    side = 8 * latent
    with torch.device("meta"):
        unet = workloads.sd15_unet()
        codec, text = workloads.RandomLatentCodec(), workloads.RandomTextEncoder()
        z, image = torch.empty(1, 4, latent, latent), torch.empty(1, 3, side, side)
        hidden, t = torch.empty(1, 77, 768), torch.zeros(1, dtype=torch.long)
        ids = torch.zeros(1, 77, dtype=torch.long)
    return Prices(
        {
            "forward": _flop(unet, z, t, hidden),
            "encode": _flop(codec.vae.encoder, image),
            "decode": _flop(codec.vae.decoder, z),
            "embed": _flop(text.encoder, ids),
        }
    )


def _flop(module: nn.Module, *inputs: torch.Tensor) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*inputs)
    return float(counter.get_total_flops())
