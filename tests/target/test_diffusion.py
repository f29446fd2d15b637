"""diffusion.py against diffusers' schedulers, and the noise stream against its frozen values."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mia_bench.target.diffusion import (
    add_noise,
    clean_estimate,
    ddim_step,
    eps_from_v,
    eps_from_velocity,
    keyed_noise,
    signal_and_noise,
)

STEPS = [0, 1, 21, 450, 999]
# diffusers computes its levels in float32, ours start in float64: 1e-6 relative, more where a
# division by a_999 = 0.07 multiplies it
CLOSE = {"rtol": 1e-5, "atol": 2e-5}


def schedule(kind: str, **options: Any) -> Any:
    import diffusers

    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    return getattr(diffusers, kind)(**betas, **options)


def latents(seed: int) -> Tensor:
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def levels() -> tuple[Tensor, Tensor]:
    a, b = signal_and_noise(schedule("DDPMScheduler").alphas_cumprod)
    return a.float(), b.float()


def test_levels_end_with_the_clean_image(levels: tuple[Tensor, Tensor]) -> None:
    a, b = signal_and_noise(torch.tensor([0.64, 0.36]))
    assert a.dtype == b.dtype == torch.float64
    for level, expected in ((a, [0.8, 0.6, 1.0]), (b, [0.6, 0.8, 0.0])):
        assert level.tolist() == pytest.approx(expected, abs=1e-7)
    assert (a[-1], b[-1]) == (1, 0)
    assert len(levels[0]) == 1001
    torch.testing.assert_close(levels[0] ** 2 + levels[1] ** 2, torch.ones(1001))


@pytest.mark.parametrize("t", STEPS)
def test_forward_noising_is_that_of_diffusers(t: int, levels: tuple[Tensor, Tensor]) -> None:
    a, b = levels
    z0, eps = latents(0), latents(1)
    expected = schedule("DDPMScheduler").add_noise(z0, eps, torch.tensor([t] * 3))
    torch.testing.assert_close(add_noise(z0, eps, a[t], b[t]), expected, **CLOSE)


@pytest.mark.parametrize("t", STEPS)
def test_velocity_of_diffusers_gives_the_noise_back(t: int, levels: tuple[Tensor, Tensor]) -> None:
    a, b = levels
    z0, eps = latents(0), latents(1)
    v = schedule("DDPMScheduler").get_velocity(z0, eps, torch.tensor([t] * 3))
    z_t = add_noise(z0, eps, a[t], b[t])
    torch.testing.assert_close(eps_from_v(v, z_t, a[t], b[t]), eps, **CLOSE)


@pytest.mark.parametrize("t", STEPS)
def test_the_true_noise_gives_the_clean_image_back(t: int, levels: tuple[Tensor, Tensor]) -> None:
    a, b = levels
    z0, eps = latents(0), latents(1)
    z_t = add_noise(z0, eps, a[t], b[t])
    torch.testing.assert_close(clean_estimate(z_t, eps, a[t], b[t]), z0, **CLOSE)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("t", [980, 460, 20, 0])
def test_ddim_step_is_that_of_diffusers(
    t: int, prediction_type: str, levels: tuple[Tensor, Tensor]
) -> None:
    a, b = levels
    ddim = schedule(
        "DDIMScheduler", clip_sample=False, set_alpha_to_one=True, prediction_type=prediction_type
    )
    ddim.set_timesteps(50)
    z, raw = latents(0), latents(1)
    eps = raw if prediction_type == "epsilon" else eps_from_v(raw, z, a[t], b[t])
    s = t - 20 if t else -1
    expected = ddim.step(raw, t, z, eta=0.0).prev_sample
    scale = 1 / a[t].item()  # an error of the level is divided by a_t
    torch.testing.assert_close(
        ddim_step(z, eps, a[t], b[t], a[s], b[s]), expected, rtol=1e-5, atol=1e-5 * scale
    )


@pytest.mark.parametrize("t", [0, 20, 440, 940])
def test_ddim_step_upwards_is_that_of_the_inverse_scheduler(
    t: int, levels: tuple[Tensor, Tensor]
) -> None:
    """DDIMInverseScheduler names a step by its destination, so both are fed one eps."""
    a, b = levels
    inverse = schedule("DDIMInverseScheduler", clip_sample=False, set_alpha_to_one=True)
    inverse.set_timesteps(50)
    z, eps = latents(0), latents(1)
    expected = inverse.step(eps, t + 20, z).prev_sample
    moved = ddim_step(z, eps, a[t], b[t], a[t + 20], b[t + 20])
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-5 / a[t].item())


def test_the_first_inverse_step_starts_from_the_clean_image(levels: tuple[Tensor, Tensor]) -> None:
    a, b = levels
    inverse = schedule("DDIMInverseScheduler", clip_sample=False, set_alpha_to_one=True)
    inverse.set_timesteps(50)
    z, eps = latents(0), latents(1)
    moved = ddim_step(z, eps, a[-1], b[-1], a[0], b[0])
    torch.testing.assert_close(moved, inverse.step(eps, 0, z).prev_sample, **CLOSE)
    torch.testing.assert_close(moved, add_noise(z, eps, a[0], b[0]), **CLOSE)


def test_ddim_moves_compose_and_turn_back_when_eps_is_kept(levels: tuple[Tensor, Tensor]) -> None:
    a, b = (level.double() for level in levels)
    z, eps = latents(0).double(), latents(1).double()
    there = ddim_step(z, eps, a[100], b[100], a[300], b[300])
    via = ddim_step(z, eps, a[100], b[100], a[200], b[200])
    torch.testing.assert_close(ddim_step(via, eps, a[200], b[200], a[300], b[300]), there)
    torch.testing.assert_close(ddim_step(there, eps, a[300], b[300], a[100], b[100]), z)


def test_levels_broadcast_over_rows(levels: tuple[Tensor, Tensor]) -> None:
    a, b = (level[[450, 20, 0]].view(3, 1, 1, 1) for level in levels)
    together = add_noise(latents(0), latents(1), a, b)
    for row in range(3):
        one = add_noise(latents(0)[row], latents(1)[row], a[row], b[row])
        assert torch.equal(together[row], one)


def test_noise_is_bit_identical_for_equal_keys() -> None:
    one = keyed_noise(7, "openmoji:1", 450, 2, (4, 8, 8))
    assert one.dtype == torch.float32
    assert torch.equal(one, keyed_noise(7, "openmoji:1", 450, 2, (4, 8, 8)))
    torch.manual_seed(123)
    torch.randn(5)
    assert torch.equal(one, keyed_noise(7, "openmoji:1", 450, 2, (4, 8, 8)))
    assert torch.equal(one.flatten(), keyed_noise(7, "openmoji:1", 450, 2, (256,)))


@pytest.mark.parametrize(
    "other",
    [
        (8, "openmoji:1", 450, 2),
        (7, "openmoji:2", 450, 2),
        (7, "openmoji:1", 451, 2),
        (7, "openmoji:1", 450, 3),
        (7, "openmoji:1", None, 2),
        (7, "openmoji:1", 0, 2),
    ],
)
def test_every_part_of_the_key_counts(other: tuple[int, str, int | None, int]) -> None:
    one = keyed_noise(7, "openmoji:1", 450, 2, (1024,))
    two = keyed_noise(*other, (1024,))
    assert not torch.equal(one, two)
    # the correlation of independent rows has standard deviation 1 / 32
    assert abs(torch.corrcoef(torch.stack([one, two]))[0, 1]) < 4 / 32


def test_noise_shared_over_timesteps_is_not_that_of_step_zero() -> None:
    none, zero = (keyed_noise(0, "a", t, 0, (16,)) for t in (None, 0))
    assert not torch.equal(none, zero)


def test_noise_is_standard_normal() -> None:
    draws = torch.stack([keyed_noise(0, f"row{i}", 1, 0, (1000,)) for i in range(200)]).double()
    n = draws.numel()
    assert abs(draws.mean()) < 4 / math.sqrt(n)
    assert abs(draws.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((draws**4).mean() - 3) < 4 * math.sqrt(96 / n)
    between = draws.mean(dim=1).var() * 1000
    assert abs(between - 1) < 4 * math.sqrt(2 / 200)


def test_the_noise_stream_is_frozen() -> None:
    """Stored features are only comparable while this holds: a change here needs new versions."""
    found = keyed_noise(0, "openmoji:06b059c01120", 450, 0, (4,))
    shared = keyed_noise(3, "", None, 1, (2, 2))
    assert found.tolist() == [
        2.228281259536743,
        0.6532534956932068,
        -0.6373552083969116,
        0.2964164912700653,
    ]
    assert shared.tolist() == [
        [-0.6682896018028259, -0.6198017001152039],
        [-0.504161536693573, -0.33255621790885925],
    ]


@pytest.mark.parametrize("sigma", [0.02, 0.256, 0.5, 1.0])
def test_a_velocity_says_the_noise_it_was_made_of(sigma: float) -> None:
    """Flow matching: z_t = (1 - sigma) z0 + sigma eps, and the network learns eps - z0."""
    z0, eps = latents(2), latents(3)
    z_t = (1 - sigma) * z0 + sigma * eps
    a = torch.tensor(1 - sigma)
    torch.testing.assert_close(eps_from_velocity(eps - z0, z_t, a), eps, **CLOSE)
