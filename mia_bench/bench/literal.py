"""Attacks in the shape in which they are usually released, to be compared with.

One image at a time, one U-Net call for one question, text encoded again for every condition, every
loss fetched from the device as soon as it is there. What is computed follows the papers and the
released scripts as far as they do more than the paper says; the loops are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from mia_bench.attacks.components.caption_reductions import character_thirds
from mia_bench.attacks.pfami import LAMBDAS, centre_crop
from mia_bench.target import Target

Literal = Callable[[Target, Tensor, str], float]
"""A target, one image (1, 3, H, W) and its caption: the score."""


def _ask(target: Target, z: Tensor, t: int, caption: str) -> Tensor:
    hidden, _ = target.text.embed([caption])
    answer: Tensor = target.unet(z, torch.tensor([t]), hidden, return_dict=False)[0]
    return answer


@torch.no_grad()
def clid(target: Target, image: Tensor, caption: str) -> float:
    """15 questions: three timesteps under the caption, its thirds and the empty caption."""
    z0 = target.latents.encode(image)
    noise = {t: torch.randn_like(z0) for t in (440, 450, 460)}
    losses = []
    for text in (caption, *character_thirds(caption), ""):
        each = []
        for t, eps in noise.items():
            z_t = target.a[t] * z0 + target.b[t] * eps
            each.append((_ask(target, z_t, t, text) - eps).square().mean().item())
        losses.append(sum(each) / len(each))
    return sum(losses[1:]) / 4 - losses[0]


@torch.no_grad()
def secmi(target: Target, image: Tensor, caption: str, last: int = 190, k: int = 10) -> float:
    """The released script inverts to t = 190 and denoises from every step: 38 questions for 16."""
    z = target.latents.encode(image)
    path = list(range(0, last + k, k))
    there = [z]
    for t, s in pairwise(path):
        z = target.move(z, _ask(target, z, t, caption), t, s)
        there.append(z)
    errors = []
    for i in range(1, len(path)):
        t, s = path[i], path[i - 1]
        back = target.move(there[i], _ask(target, there[i], t, caption), t, s)
        errors.append((back - there[i - 1]).square().sum().item())
    return -errors[14]


@torch.no_grad()
def pfami(target: Target, image: Tensor, caption: str, fraction: float = LAMBDAS[5]) -> float:
    """20 questions: ten timesteps for the image and for its crop, noise drawn each time."""
    crop = centre_crop(image, fraction)
    rises = []
    for t in range(0, 500, 50):
        each = []
        for picture in (image, crop):
            z0 = target.latents.encode(picture)
            eps = torch.randn_like(z0)
            z_t = target.a[t] * z0 + target.b[t] * eps
            each.append((_ask(target, z_t, t, caption) - eps).square().mean().item())
        rises.append((each[1] - each[0]) / each[0])
    return sum(rises) / len(rises)


def gsa2(target: Target, image: Tensor, caption: str) -> float:
    """Ten questions and ten gradients; the norm of every tensor is fetched on its own."""
    z0 = target.latents.encode(image)
    norms: dict[str, float] = {}
    for t in range(99, 1000, 100):
        target.unet.zero_grad(set_to_none=True)
        eps = torch.randn_like(z0)
        z_t = target.a[t] * z0 + target.b[t] * eps
        (_ask(target, z_t, t, caption) - eps).square().mean().backward()
        for name, p in target.unet.named_parameters():
            assert p.grad is not None
            norms[name] = norms.get(name, 0.0) + p.grad.norm().item() / 10
    target.unet.zero_grad(set_to_none=True)
    return sum(norms.values())


LITERAL: dict[str, Literal] = {"clid": clid, "secmi": secmi, "pfami": pfami, "gsa2": gsa2}


def loop(target: Target, images: Tensor, captions: tuple[str, ...], name: str) -> list[float]:
    """Scores of all rows, one after the other."""
    rows = zip(images.split(1), captions, strict=True)
    return [LITERAL[name](target, image, caption) for image, caption in rows]
