"""What an attack costs beside its U-Net evaluations, and what batching and sharing them saves.

Four comparisons: with the bare U-Net, with the gradients that norms are taken of, with one pass per
attack, and with attacks in the shape in which they are usually released: one image at a time, one
U-Net call per query, text encoded again for every condition, every loss fetched from the device as
soon as it is there. What those compute follows the papers, and the released scripts as far as they
do more than the paper says; the loops are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from mia_bench.attacks import Access, Attack, query_fields
from mia_bench.attacks.components.caption_reductions import character_thirds
from mia_bench.attacks.gsa import GSA, gradients_of, losses_of, timesteps
from mia_bench.attacks.pfami import LAMBDAS, centre_crop
from mia_bench.bench import workloads
from mia_bench.bench.timing import Ratio, Work, now, ratio
from mia_bench.bench.unet_baseline import unet_loop
from mia_bench.bench.workloads import Workload
from mia_bench.target import Target

ATTACKS = ("clid", "noise_agg", "pia", "secmi", "loss")

# --- an attack over the bare U-Net


def overhead(
    workload: Workload, name: str, rounds: int, chunk: int, warmup_pairs: int = 1
) -> Ratio:
    """Time of attack `name` on the batch over as many bare evaluations in calls of `chunk` rows.

    Of a `cached()` workload latents and captions are there; of others both are encoded each time.
    The attack runs once more, unmeasured, to count its evaluations.
    """
    run = predict_step(workload, name)
    evaluations = _evaluations(workload, run)
    return ratio(run, unet_loop(workload, evaluations, chunk), rounds, warmup_pairs)


def predict_step(workload: Workload, name: str) -> Callable[[], None]:
    """The predict step of one attack on the batch, up to writing the features down."""
    attack, target = workloads.attack(name), workload.target

    def run() -> None:
        target.forget()
        with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
            features = attack.features(target, workload.batch)
        for values in features.values():
            values.detach().float().cpu().numpy()

    return run


def _evaluations(workload: Workload, work: Callable[[], None]) -> int:
    before = workload.target.queries["forward"]
    work()
    return workload.target.queries["forward"] - before


# --- norms of gradients over the gradients that they are taken of


def over_gradients(workload: Workload, rounds: int, of_weights: bool = False) -> Ratio:
    """Time of GSA2 on the batch of a `cached()` workload over gradients of the same rows and
    timesteps, in the same calls.

    Args:
        of_weights: one forward and one whole backward pass, as in a training step; else backward
            through activations alone. No way of taking norms can do without the latter: slopes of
            activations come before those of weights.
    """
    attack, target, batch = workloads.attack("gsa2"), workload.target, workload.batch
    assert isinstance(attack, GSA)
    path = timesteps(target.timesteps, attack.n_timesteps)
    places = [(row, t) for row in range(len(batch)) for t in path]

    def forward_and_backward() -> None:
        target.forget()
        z0 = target.view(batch).z0.clone().requires_grad_()

        def work(rows: slice) -> None:
            losses_of(target, batch, z0, places[rows]).sum().backward()

        with gradients_of(target.unet, of_weights) as parameters, torch.enable_grad():
            for _ in target.with_gradients(len(places), work):
                pass
            for p in parameters:
                p.grad = None

    return ratio(predict_step(workload, "gsa2"), forward_and_backward, rounds)


# --- all attacks in one pass over one pass each


@dataclass(frozen=True)
class Sharing:
    """One pass over separate ones: `time`, of it `unet` in calls of the U-Net, and `evaluations`,
    the union of queries over their sum."""

    time: Ratio
    unet: Ratio
    evaluations: float

    @property
    def excess(self) -> Ratio:
        """Time in calls of the U-Net over what the number of evaluations makes of it."""
        return self.unet.times(1 / self.evaluations)

    @property
    def elsewhere(self) -> float:
        """Share of the one pass outside calls of the U-Net: gradients and pictures that one attack
        alone asks for, and all else."""
        return 1 - self.unet.seconds[0] / self.time.seconds[0]


def sharing(workload: Workload, attacks: list[Attack], rounds: int) -> Sharing:
    """Attacks on one batch in one pass, over the same attacks each in a pass of its own.

    Of a `cached()` workload nothing is encoded; others encode in every pass, as separate runs do.
    """
    distinct = distinct_attacks(attacks)
    shared = _evaluations(workload, lambda: _one_pass(workload, distinct))
    separate = sum(_evaluations(workload, lambda a=a: _one_pass(workload, [a])) for a in distinct)  # type: ignore[misc]
    workload.target.forget()

    def separate_passes() -> None:
        for attack in distinct:
            _one_pass(workload, [attack])

    def one_pass() -> None:
        _one_pass(workload, distinct)

    def in_unet(work: Work) -> float:
        return seconds_within(workload.target.unet, work)

    time = ratio(one_pass, separate_passes, rounds)
    unet = ratio(one_pass, separate_passes, rounds, warmup_pairs=0, seconds_of=in_unet)
    return Sharing(time, unet, shared / separate)


def seconds_within(module: nn.Module, work: Work) -> float:
    """Seconds of `work` in forward calls of `module`, by the clock in use."""
    began, spent = [0.0], [0.0]

    def before(*_: object) -> None:
        began[0] = now()

    def after(*_: object) -> None:
        spent[0] += now() - began[0]

    hooks = (module.register_forward_pre_hook(before), module.register_forward_hook(after))
    try:
        work()
    finally:
        for hook in hooks:
            hook.remove()
    return spent[0]


def distinct_attacks(attacks: list[Attack]) -> list[Attack]:
    """Attacks that read the same features, such as clid and clid_vec, once, as a run makes them."""
    return list({(type(a), str(query_fields(a))): a for a in attacks}.values())


def _one_pass(workload: Workload, attacks: list[Attack]) -> None:
    workload.target.forget()
    for attack in attacks:
        with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
            attack.features(workload.target, workload.batch)


# --- attacks as released scripts run them, without batching

UnbatchedAttack = Callable[[Target, Tensor, str], float]
"""A target, one image (1, 3, H, W) and its caption: the score."""


def _predict_noise(target: Target, z: Tensor, t: int, caption: str) -> Tensor:
    hidden, _ = target.text.embed([caption])
    eps: Tensor = target.unet(z, torch.tensor([t]), hidden, return_dict=False)[0]
    return eps


@torch.no_grad()
def clid(target: Target, image: Tensor, caption: str) -> float:
    """15 queries: three timesteps under the caption, its thirds and the empty caption."""
    z0 = target.latents.encode(image)
    noise = {t: torch.randn_like(z0) for t in (440, 450, 460)}
    losses = []
    for text in (caption, *character_thirds(caption), ""):
        text_losses = []
        for t, eps in noise.items():
            z_t = target.a[t] * z0 + target.b[t] * eps
            text_losses.append((_predict_noise(target, z_t, t, text) - eps).square().mean().item())
        losses.append(sum(text_losses) / len(text_losses))
    return sum(losses[1:]) / 4 - losses[0]


@torch.no_grad()
def secmi(target: Target, image: Tensor, caption: str, last: int = 190, k: int = 10) -> float:
    """The released script inverts to t = 190 and denoises from every step: 38 queries for 16."""
    z = target.latents.encode(image)
    timesteps = list(range(0, last + k, k))
    inverted = [z]
    for t, s in pairwise(timesteps):
        z = target.move(z, _predict_noise(target, z, t, caption), t, s)
        inverted.append(z)
    errors = []
    for i in range(1, len(timesteps)):
        t, s = timesteps[i], timesteps[i - 1]
        denoised = target.move(inverted[i], _predict_noise(target, inverted[i], t, caption), t, s)
        errors.append((denoised - inverted[i - 1]).square().sum().item())
    return -errors[14]


@torch.no_grad()
def pfami(target: Target, image: Tensor, caption: str, fraction: float = LAMBDAS[5]) -> float:
    """20 queries: ten timesteps for the image and for its crop, noise drawn each time."""
    crop = centre_crop(image, fraction)
    rises = []
    for t in range(0, 500, 50):
        losses = []
        for picture in (image, crop):
            z0 = target.latents.encode(picture)
            eps = torch.randn_like(z0)
            z_t = target.a[t] * z0 + target.b[t] * eps
            losses.append((_predict_noise(target, z_t, t, caption) - eps).square().mean().item())
        rises.append((losses[1] - losses[0]) / losses[0])
    return sum(rises) / len(rises)


def gsa2(target: Target, image: Tensor, caption: str) -> float:
    """Ten queries and ten gradients; the norm of every tensor is fetched on its own."""
    z0 = target.latents.encode(image)
    norms: dict[str, float] = {}
    for t in range(99, 1000, 100):
        target.unet.zero_grad(set_to_none=True)
        eps = torch.randn_like(z0)
        z_t = target.a[t] * z0 + target.b[t] * eps
        (_predict_noise(target, z_t, t, caption) - eps).square().mean().backward()
        for name, p in target.unet.named_parameters():
            assert p.grad is not None
            norms[name] = norms.get(name, 0.0) + p.grad.norm().item() / 10
    target.unet.zero_grad(set_to_none=True)
    return sum(norms.values())


UNBATCHED: dict[str, UnbatchedAttack] = {
    "clid": clid,
    "secmi": secmi,
    "pfami": pfami,
    "gsa2": gsa2,
}


def unbatched_scores(
    target: Target, images: Tensor, captions: tuple[str, ...], name: str
) -> list[float]:
    """Scores of all rows, one after the other."""
    rows = zip(images.split(1), captions, strict=True)
    return [UNBATCHED[name](target, image, caption) for image, caption in rows]
