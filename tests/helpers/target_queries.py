"""What the tests of targets share: queries, and a literal reading of one target."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mia_bench.target import Batch, Query, Target
from mia_bench.target.diffusion import keyed_noise

Build = Callable[..., Target]
Draw = Callable[..., Batch]

# float32 convolutions and matrix products sum in another order for another number of rows:
# predictions of order 1 move by some 1e-6, and eps = a v + b z adds no more
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    """The batch of these rows, in their order."""
    ids = tuple(batch.sample_id[i] for i in rows)
    return Batch(ids, batch.image[rows], tuple(batch.caption[i] for i in rows))


def grid_queries(target: Target, captions: tuple[str, ...]) -> list[Query]:
    """Ten: two timesteps, two conditions and two draws, and two draws shared over t."""
    full, null = target.embed(captions), target.embed([""] * len(captions))
    grid = [Query(t, c, draw) for t in (10, 450) for c in (full, null) for draw in (0, 3)]
    return [*grid, Query(10, full, 1, shared=True), Query(450, null, 1, shared=True)]


def literal_eps(target: Target, z_t: Tensor, t: int, caption: str) -> Tensor:
    """One latent, one timestep, one caption; the v formula written out."""
    hidden, _ = target.text.embed([caption])
    raw = target.unet(z_t[None], torch.tensor([t]), encoder_hidden_states=hidden).sample[0]
    if target.prediction_type == "epsilon":
        return raw
    return target.a[t] * raw + target.b[t] * z_t


@torch.no_grad()
def literal_grid(target: Target, batch: Batch) -> Tensor:
    """(10, B, 4, 8, 8): `grid_queries` one row at a time."""
    out = []
    for t, shared, draws in ((10, False, (0, 3)), (450, False, (0, 3)), (0, True, (1,))):
        for condition in ("full", "null"):
            for draw in draws:
                step = {"full": 10, "null": 450}[condition] if shared else t
                for i, sid in enumerate(batch.sample_id):
                    key = None if shared else step
                    eps = keyed_noise(target.seed, sid, key, draw, (4, 8, 8))
                    z0 = target.latents.encode(batch.image[i : i + 1])[0]
                    z_t = target.a[step] * z0 + target.b[step] * eps
                    caption = batch.caption[i] if condition == "full" else ""
                    out.append(literal_eps(target, z_t, step, caption))
    return torch.stack(out).view(-1, len(batch), 4, 8, 8)


def nfe(target: Target) -> tuple[int, int]:
    """Rows evaluated, and rows that the current attack would have cost on its own."""
    return target.queries["forward"], target.queries["asked"]
