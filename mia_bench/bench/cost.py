"""The cost model of docs/scale.md: checked against passes that are run, then applied.

    seconds = rows x (NFE x u + encodings x e + decodings x d + texts x w + pictures x p)
              + shards x s + f
u, e, d, w: one row through U-Net, encoder, decoder, text tower; p: opening a picture; s: a shard;
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
from mia_bench.bench import subjects
from mia_bench.bench.bare import loop
from mia_bench.bench.clock import elapsed
from mia_bench.target import Target

ATTACKS = ("loss", "clid", "secmi", "pfami", "pia", "noise_agg")
CAMPAIGN = (
    *("clid", "noise_agg", "drc", "loss", "mc"),
    *("secmi", "pia", "pfami", "sima", "rediffuse"),
)
KINDS = ("forward", "encode", "decode", "embed")
BATCH = 32


@dataclass(frozen=True)
class Prices:
    """Of one row: seconds, or FLOP, by kind of query; the others in seconds."""

    of: dict[str, float]
    picture: float = 0.0
    shard: float = 0.0
    start: float = 0.0

    def __call__(self, queries: dict[str, float], pictures: float = 0, shards: float = 0) -> float:
        asked = sum(queries[kind] * self.of[kind] for kind in KINDS)
        return asked + pictures * self.picture + shards * self.shard + self.start


def prices(subject: subjects.Workload) -> Prices:
    """Seconds of the parts, each alone, on whole batches."""
    target, batch = subject.target, subject.batch
    rows, z0 = len(batch), subject.target.encode(batch.image)
    chunk = target.chunk
    captions = [f"{caption} {i}" for i, caption in enumerate(batch.caption)]
    with torch.no_grad():
        of = {
            "forward": _best(loop(subject, 2 * chunk, chunk)) / (2 * chunk),
            "encode": _best(lambda: target.latents.encode(batch.image[:BATCH])) / BATCH,
            "decode": _best(lambda: target.latents.decode(z0[:BATCH])) / BATCH,
            "embed": _best(lambda: target.text.embed(captions)) / rows,
        }
    items = subjects.drawings(BATCH)
    picture = _best(lambda: _open(items)) / BATCH
    with TemporaryDirectory() as folder:
        shard = _best(lambda: _shard(Path(folder)))
    parts = Prices(of, picture, shard)
    seconds, asked, _ = timed("loss", 1, cached=True)
    return replace(parts, start=max(0.0, seconds - parts(asked, 0, 1)))


def _best(work: Callable[[], object]) -> float:
    work()
    return float(np.median([elapsed(work) for _ in range(5)]))


def _open(items: subjects.Items) -> None:
    from mia_bench.data.loader import decode

    decode(items, subjects.RESOLUTION)


def _shard(folder: Path) -> None:
    from mia_bench.storage.feature_table import Table, write_table

    rows = np.zeros((BATCH, 15), np.float32)
    write_table(folder / "x.parquet", Table(("openmoji:0123456789ab",) * BATCH, {"loss": rows}))


def checked(name: str, rows: int, priced: Prices, cached: bool) -> float:
    """Seconds of a real predict pass over those of the model."""
    seconds, asked, pictures = timed(name, rows, cached)
    return seconds / priced(asked, pictures, -(-rows // BATCH))


def timed(name: str, rows: int, cached: bool) -> tuple[float, dict[str, float], int]:
    """Seconds of computing of a predict pass, its queries, and the pictures it opened.

    Networks are loaded before; where not `cached`, latents and texts are encoded.
    """
    from mia_bench.config.schema import TrainerOptions
    from mia_bench.extraction.predict import run_pass

    target, items = subjects.tiny_target(), subjects.drawings(rows)
    if cached:
        subjects.Workload(target, subjects.tiny(1).batch).cached()
    _pass(target, items if cached else items[:1], name)
    attack, before = subjects.attack(name), target.queries.copy()
    with TemporaryDirectory() as folder:
        places = {name: (attack, Path(folder))}
        options = TrainerOptions(accelerator="cpu")
        began = time.process_time()
        run_pass(target, places, items, subjects.RESOLUTION, BATCH, options, "bench")
        seconds = time.process_time() - began
    asked = {kind: float((target.queries - before)[kind]) for kind in KINDS}
    return seconds, asked, rows if asked["encode"] else 0


def _pass(target: Target, items: subjects.Items, name: str) -> None:
    from mia_bench.data.loader import batch_of

    attack = subjects.attack(name)
    for begin in range(0, len(items), BATCH):
        with torch.no_grad():
            attack.features(target, batch_of(items[begin : begin + BATCH], subjects.RESOLUTION))
        target.forget()


def questions(attacks: list[Attack]) -> dict[str, float]:
    """Queries of one row of all attacks together, counted on the tiny model."""
    subject = subjects.tiny(2)
    for attack in attacks:
        with torch.no_grad():
            attack.features(subject.target, subject.batch)
    asked = subject.target.queries
    return {kind: asked[kind] / len(subject.batch) for kind in KINDS}


def flop_of_sd15(latent: int = 64) -> Prices:
    """FLOP of one row through Stable Diffusion 1.5 at 8 x `latent` pixels; nothing is computed."""
    side = 8 * latent
    with torch.device("meta"):
        unet, codec, words = subjects.sd15_unet(), subjects.Codec(), subjects.Words()
        z, image = torch.empty(1, 4, latent, latent), torch.empty(1, 3, side, side)
        hidden, t = torch.empty(1, 77, 768), torch.zeros(1, dtype=torch.long)
        ids = torch.zeros(1, 77, dtype=torch.long)
    return Prices(
        {
            "forward": _flop(unet, z, t, hidden),
            "encode": _flop(codec.vae.encoder, image),
            "decode": _flop(codec.vae.decoder, z),
            "embed": _flop(words.encoder, ids),
        }
    )


def _flop(module: nn.Module, *inputs: torch.Tensor) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*inputs)
    return float(counter.get_total_flops())
