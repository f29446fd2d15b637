"""Images from captions, or from images and captions, by deterministic DDIM or Euler steps, from
noise that a seed decides."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from mia_bench.storage.hashing import hash_key
from mia_bench.target.diffusion import keyed_noise
from mia_bench.target.flow_schedule import FlowSchedule
from mia_bench.target.query import Batch, Condition, LatentStore, View
from mia_bench.target.schedule import NoiseLevels
from mia_bench.utils.errors import MiaError


class TextToImage(Protocol):
    """What generation needs of a target."""

    latent_shape: tuple[int, ...]
    schedule: NoiseLevels
    seed: int
    timesteps_with_signal: int
    generated: LatentStore | None

    @property
    def queries(self) -> Counter[str]: ...
    @property
    def device(self) -> torch.device: ...
    def embed(self, captions: Sequence[str]) -> Condition: ...
    def predict_noise(self, z_t: Tensor, t: int, cond: Condition) -> Tensor: ...
    def predict_velocity(self, z_t: Tensor, sigma: float, cond: Condition) -> Tensor: ...
    def add_noise(self, z0: Tensor, eps: Tensor, t: int) -> Tensor: ...
    def move(self, z_t: Tensor, eps: Tensor, t: int, s: int) -> Tensor: ...
    def decode(self, z0: Tensor) -> Tensor: ...
    def view(self, batch: Batch) -> View: ...
    def noise(self, sample_id: Sequence[str], t: None, draw: int) -> Tensor: ...


@torch.no_grad()
def generate(
    target: TextToImage,
    captions: Sequence[str],
    seed: int,
    steps: int,
    guidance: float,
    keys: Sequence[tuple[str, int]] | None = None,
) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1]; NFE: steps per image, twice that with guidance other than 1.

    Args:
        captions: one per image.
        seed: noise is keyed by (seed, row), or by (seed, key) where there are keys.
        steps: DDIM moves from the noisiest timestep with any signal to the clean image.
        guidance: scale of classifier-free guidance (Ho & Salimans 2022); 1 is none.
        keys: (sample id, draw) of each image, so that no other row matters to it.
    """
    every = [(str(i), 0) for i in range(len(captions))] if keys is None else keys
    shape = target.latent_shape

    def sample() -> Tensor:
        noise = [keyed_noise(seed, f"generate:{name}", None, draw, shape) for name, draw in every]
        z = torch.stack(noise).to(target.device)
        return sampled(target, z, captions, steps, steps, guidance)

    if keys is None:
        return target.decode(sample())
    name = f"generate:{seed}:{steps}:{guidance!r}"
    return target.decode(kept(target, name, keys, captions, steps, guidance, sample))


@torch.no_grad()
def image_to_image(
    target: TextToImage,
    batch: Batch,
    captions: Sequence[str],
    strength: float,
    steps: int,
    guidance: float,
    draw: int,
) -> Tensor:
    """Images (B, 3, H, W) from those of the batch (SDEdit, Meng et al. 2022); NFE: moves_of(steps,
    strength) per image, twice that with guidance other than 1."""
    last = moves_of(steps, strength)

    def sample() -> Tensor:
        eps = target.noise([f"image_to_image:{sid}" for sid in batch.sample_id], None, draw)
        z = noised(target, target.view(batch).z0, eps, steps, last)
        return sampled(target, z, captions, steps, last, guidance)

    name = f"image_to_image:{target.seed}:{last}:{steps}:{guidance!r}"
    keys = [(sid, draw) for sid in batch.sample_id]
    return target.decode(kept(target, name, keys, captions, last, guidance, sample))


def kept(
    target: TextToImage,
    name: str,
    keys: Sequence[tuple[str, int]],
    captions: Sequence[str],
    moves: int,
    guidance: float,
    sample: Callable[[], Tensor],
) -> Tensor:
    """Latents (B, *latent) of `sample`, sampled once where the target has a place to keep them.

    What is read again counts as asked, not as evaluated.

    Args:
        name: how they are sampled, the seed of their noise included; keys: (sample id, draw) of
            each; captions: one for each.
        moves: of each, for the count.
    """
    if target.generated is None:
        return sample()
    rows = [f"{sid}|{draw}|{hash_key(c)}" for (sid, draw), c in zip(keys, captions, strict=True)]
    stored = target.generated.get(name, rows)
    if stored.keys() >= set(rows):
        target.queries["asked"] += moves * len(rows) * (1 if guidance == 1.0 else 2)
        return torch.stack([stored[row] for row in rows]).to(target.device)
    z0 = sample()
    target.generated.put(name, rows, z0)
    return z0


def sampled(
    target: TextToImage,
    z: Tensor,
    captions: Sequence[str],
    steps: int,
    last: int,
    guidance: float,
) -> Tensor:
    """Clean latents from z (B, *latent) by the `last` of `steps` moves, which begin at the level
    that `noised` gives them. NFE: last per image, twice that with guidance other than 1."""
    cond, null = target.embed(captions), target.embed([""] * len(captions))
    if isinstance(target.schedule, FlowSchedule):
        sigmas: list[float] = target.schedule.sampler(steps).tolist()
        return euler(target, z, sigmas[-last - 1 :], cond, null, guidance)
    for t, s in ddim_moves(target.timesteps_with_signal, steps)[-last:]:
        eps = target.predict_noise(z, t, cond)
        if guidance != 1.0:
            eps_null = target.predict_noise(z, t, null)
            eps = eps_null + guidance * (eps - eps_null)
        z = target.move(z, eps, t, s)
    return z


def noised(target: TextToImage, z0: Tensor, eps: Tensor, steps: int, last: int) -> Tensor:
    """z0 (B, *latent) with the noise eps at the level where the `last` of `steps` moves begin."""
    if isinstance(target.schedule, FlowSchedule):
        sigma = float(target.schedule.sampler(steps)[-last - 1])
        return (1 - sigma) * z0 + sigma * eps
    t = ddim_moves(target.timesteps_with_signal, steps)[-last][0]
    return target.add_noise(z0, eps, t)


def moves_of(steps: int, strength: float) -> int:
    """How many of `steps` moves change an image by `strength` in (0, 1], at least one; 1: all."""
    return max(1, round(steps * strength))


def euler(
    target: TextToImage,
    z: Tensor,
    sigmas: Sequence[float],
    cond: Condition,
    null: Condition,
    guidance: float,
) -> Tensor:
    """Latents (B, *latent) after Euler steps z + (u - s) v_hat along falling `sigmas`."""
    for s, u in itertools.pairwise(sigmas):
        v = target.predict_velocity(z, s, cond)
        if guidance != 1.0:
            v_null = target.predict_velocity(z, s, null)
            v = v_null + guidance * (v - v_null)
        z = z + (u - s) * v
    return z


def require_moves(timesteps: int, steps: int, name: str = "steps") -> None:
    """Raises MiaError, with the option's `name`, for more moves than there are timesteps."""
    if steps > timesteps:
        raise MiaError(
            f"{name}={steps} do not fit into a schedule of {timesteps}. Use {timesteps} or fewer."
        )


def ddim_moves(timesteps: int, steps: int) -> list[tuple[int, int]]:
    """`steps` moves (t, s), evenly spaced from timesteps - 1 down to 0; the last ends clean, -1."""
    path = torch.linspace(timesteps - 1, 0, steps).round().int().tolist()
    return list(zip(path, [*path[1:], -1], strict=True))
