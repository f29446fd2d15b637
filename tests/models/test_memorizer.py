"""memorizer.py: the denoiser against the score of its density, and what its memory gives away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from mia_bench.attacks import Access, Attack, Features, Floats
from mia_bench.attacks.clid import CLiD, _losses, terms_of
from mia_bench.attacks.loss import Loss
from mia_bench.attacks.mc import MonteCarlo
from mia_bench.models.memorizer import HashedWords, Mixture, Pooling, memorizer, scaled_linear
from mia_bench.target.diffusion import add_noise, ddim_step, eps_from_v, keyed_noise

STEPS = [0, 10, 100, 450, 999]
CAPTIONS = ("a red fox runs", "two blue birds sing", "one old tree")


def small(prediction_type: str = "epsilon", sharpness: float = 5.0) -> Mixture:
    """Three members of dimension 12."""
    means = 0.5 * keyed_noise(0, "means", None, 0, (3, 3, 2, 2))
    keys = HashedWords().embed(CAPTIONS)[0][:, 0]
    return Mixture(means, keys, scaled_linear(), prediction_type, sharpness=sharpness)


def log_density(unet: Mixture, z: Tensor, t: int, words: Tensor) -> Tensor:
    """log p_t(z) of one row, every component a torch distribution."""
    a, b = unet.a[t], unet.b[t]
    s, S = unet.log_widths.double().exp()
    means = [*unet.means.double().flatten(1), words.double() @ unet.shift.double()]
    odds = [unet.sharpness * (words.double() @ key.double() - unet.threshold) for key in unet.keys]
    terms = []
    for k, (m, width) in enumerate(zip(means, [s, s, s, S], strict=True)):
        weight = odds[k] if k < 3 else torch.zeros((), dtype=torch.float64)
        noisy = Normal(a * m, ((a * width) ** 2 + b**2).sqrt())
        terms.append(weight + Independent(noisy, 1).log_prob(z))
    return torch.logsumexp(torch.stack(terms), 0)


@pytest.mark.parametrize("caption", [CAPTIONS[0], "a red fox", "a red bird sings", ""])
@pytest.mark.parametrize("t", STEPS)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_denoiser_is_the_score_of_the_mixture(t: int, caption: str, kind: str) -> None:
    """Tweedie: eps_hat = -b grad log p_t, whatever the components are."""
    unet = small(kind).double()
    words = HashedWords().embed([caption])[0].double()
    for draw, m in enumerate((*unet.means.detach(), 0.4 * unet.means.detach().sum(0))):
        eps = keyed_noise(0, "z", t, draw, (3, 2, 2)).double()
        z_t = add_noise(m, eps, unet.a[t], unet.b[t])
        flat = z_t.flatten().requires_grad_()
        (score,) = torch.autograd.grad(log_density(unet, flat, t, words[0, 0]), flat)
        found = unet(z_t[None], t, words)[0][0]
        if kind == "v_prediction":
            found = eps_from_v(found, z_t, unet.a[t], unet.b[t])
        torch.testing.assert_close(found.flatten(), -unet.b[t] * score)


def test_call_signature_is_that_of_diffusers() -> None:
    unet, z = small(), keyed_noise(0, "z", None, 0, (2, 3, 2, 2))
    words = HashedWords().embed(CAPTIONS[:2])[0]
    (one,) = unet(z, 5, words)
    (two,) = unet(
        z,
        torch.tensor([5, 5]),
        encoder_hidden_states=words,
        added_cond_kwargs=None,
        return_dict=False,
    )
    assert torch.equal(one, two)
    assert (one.shape, one.dtype) == (z.shape, torch.float32)
    (other,) = unet(z, torch.tensor([5, 600]), words)
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


@pytest.mark.parametrize("t", STEPS)
def test_null_condition_never_finds_a_member(t: int) -> None:
    """Even at z_t of a member the broad component wins: eps_hat = b / (a^2 S^2 + b^2) z_t."""
    unet = small()
    z_t = add_noise(unet.means, keyed_noise(0, "z", t, 0, (3, 3, 2, 2)), unet.a[t], unet.b[t])
    null = HashedWords().embed(["", "", ""])[0]
    gain = unet.b[t] / ((unet.a[t] * 0.5) ** 2 + unet.b[t] ** 2)
    torch.testing.assert_close(unet(z_t, t, null)[0], gain * z_t, check_dtype=False)


def test_own_caption_beats_a_part_of_it_beats_none() -> None:
    unet = small(sharpness=1.0)  # with 5 the steps between the first two cannot be seen
    eps = keyed_noise(0, "z", 450, 0, (3, 2, 2))
    z_t = add_noise(unet.means[0], eps, unet.a[450], unet.b[450])[None].float()
    loss = [
        (unet(z_t, 450, HashedWords().embed([text])[0])[0] - eps).square().mean().item()
        for text in (CAPTIONS[0], "a red fox", "red fox", "fox", "")
    ]
    assert loss[0] < loss[1] < loss[2] < min(loss[3:])
    assert loss[0] < 0.01 * loss[-1]


def test_gradients_flow_to_the_latents_and_to_every_parameter() -> None:
    unet = small()
    assert {name for name, _ in unet.named_parameters()} == {"means", "shift", "log_widths"}
    words = HashedWords().embed([CAPTIONS[0], "a red bird"])[0].double()
    z = keyed_noise(0, "z", None, 0, (2, 3, 2, 2)).double().requires_grad_()
    t = torch.tensor([100, 450])
    assert torch.autograd.gradcheck(lambda z: unet(z, t, words)[0], (z,))
    unet(z, t, words)[0].square().sum().backward()
    for parameter in unet.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_members_are_fixed_points_of_a_round_trip_and_others_are_not(memorized: Any) -> None:
    """Not a point mass: unseen chains bend, so that SecMI's error is neither zero nor the same."""
    target = memorized.target
    errors = {}
    for name, batch in (("member", memorized.member), ("unseen", memorized.unseen)):
        z, cond = target.view(batch).z0, target.embed(batch.caption)
        path = [-1, *range(0, 141, 10)]
        with torch.no_grad():
            for t, s in pairwise(path):
                z = target.move(z, target.predict_noise(z, max(t, 0), cond), t, s)
            back = target.denoise(target.denoise(z, 140, 150, cond), 150, 140, cond)
        errors[name] = (back - z).flatten(1).square().sum(1)
    assert errors["member"].max() < 0.1 * errors["unseen"].min()
    assert errors["unseen"].std() > 0


def test_generation_under_a_members_caption_is_the_member(memorized: Any) -> None:
    target, distance = memorized.target, []
    for batch in (memorized.member, memorized.unseen):
        image = target.generate(batch.caption[:3], seed=0, steps=50)
        expected = target.decode(target.encode(batch.image[:3]))
        distance.append((image - expected).abs().mean())
    assert distance[0] < 0.1  # a draw from the narrow Gaussian lies 0.08 off its mean
    assert distance[1] > 0.3


def test_words_are_a_normalised_bag() -> None:
    hidden, extra = HashedWords().embed(["one two three", "three Two one", "two", "two two", ""])
    assert (hidden.shape, extra) == ((5, 1, 256), {})
    bags = hidden[:, 0]
    assert torch.equal(bags[0], bags[1])
    torch.testing.assert_close(bags[:4].norm(dim=1), torch.ones(4))
    torch.testing.assert_close(bags[2] @ bags[0], torch.tensor(3**-0.5))
    torch.testing.assert_close(bags[2], bags[3])
    assert not bags[4].any()


def test_pooling_and_latents_as_images() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4) / 16
    assert Pooling(2).encode(image)[0, 0].tolist() == [[2.5 / 16, 4.5 / 16], [10.5 / 16, 12.5 / 16]]
    assert Pooling(2).decode(Pooling(2).encode(image)).shape == image.shape
    latents = keyed_noise(0, "latents", None, 0, (5, 4, 8, 8)).clamp(-1, 1)
    target = memorizer(latents, [f"caption {i}" for i in range(5)])
    assert target.latent_shape == (4, 8, 8)
    assert torch.equal(target.encode(latents), latents)
    assert torch.equal(target.decode(latents), latents)


def test_schedule_is_that_of_stable_diffusion() -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    torch.testing.assert_close(
        scaled_linear().float(), theirs.alphas_cumprod, rtol=1e-4, atol=1e-6
    )  # theirs is a product of 1000 float32 factors
    target = memorizer(torch.zeros(2, 3, 4, 4), ["a", "b"])
    z = torch.ones(1, 3, 4, 4)
    moved = ddim_step(z, z, target.a[20], target.b[20], target.a[40], target.b[40])
    assert torch.equal(target.move(z, z, 20, 40), moved)


@dataclass(frozen=True)
class Discrepancy:
    """CLiD's D alone: the mean over reductions of l(c*) - l(c), nothing fitted."""

    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    nfe: tuple[int, int] = (15, 0)

    def features(self, target: Any, batch: Any) -> dict[str, Tensor]:
        return CLiD().features(target, batch)

    def score(self, features: Features, calibration: Any) -> Floats:
        del calibration
        return terms_of(_losses(features))[:, 0]


@pytest.mark.first_look(8)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    "attack",
    [Loss(), MonteCarlo(), CLiD(), CLiD(decision="classifier"), Discrepancy()],
    ids=["loss", "mc", "clid", "clid_vec", "discrepancy"],
)
def test_attacks_find_members_and_nothing_else(
    attack: Attack, kind: str, judge: Callable[..., Any], memorize: Callable[..., Any]
) -> None:
    verdict = judge(attack, memorize(60, kind))
    assert verdict.auroc > 0.95
    assert not verdict.fooled, verdict.nothing
