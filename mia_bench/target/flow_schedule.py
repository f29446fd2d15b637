"""Noise levels of flow matching, addressed by the timesteps in which papers state their attacks.

Rectified flow (Liu et al. 2022, arXiv 2209.03003; Esser et al. 2024, arXiv 2403.03206) mixes data
and noise by a fraction sigma of noise and learns the velocity of the mixture:

    z_sigma = (1 - sigma) z0 + sigma eps,    v = eps - z0,    eps = z_sigma + (1 - sigma) v

so a = 1 - sigma, b = sigma, and a DDIM move from sigma to u is the Euler step z + (u - sigma) v.

Attacks speak of timesteps of Stable Diffusion's schedule of 1,000. Timestep t of a `FlowSchedule`
is the level of equal signal-to-noise: sigma_t = b_t / (a_t + b_t) of that schedule (t 100 -> .256,
140 -> .302, 500 -> .618, 999 -> .936). A float stands for sigma itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

BETA_START, BETA_END, TIMESTEPS = 0.00085, 0.012, 1000  # Stable Diffusion 1, scaled linear
SIGMA_FLOOR = 0.02  # [ours] logit-normal sampling hardly trains anything below


def equal_noise_sigmas(alphas_cumprod: Tensor | None = None) -> Tensor:
    """(T,) float64 noise fractions sigma = b / (a + b) of a VP schedule, Stable Diffusion's where
    none is given."""
    if alphas_cumprod is None:
        roots = torch.linspace(
            math.sqrt(BETA_START), math.sqrt(BETA_END), TIMESTEPS, dtype=torch.float64
        )
        alphas_cumprod = (1 - roots.square()).cumprod(0)
    a, b = alphas_cumprod.double().sqrt(), (1 - alphas_cumprod.double()).sqrt()
    return b / (a + b)


def nearest_timestep(sigma: float, sigmas: Tensor | None = None) -> int:
    """The timestep whose noise fraction is nearest to `sigma`, of Stable Diffusion's by default.

    Raises:
        ValueError: sigma does not lie in [0, 1].
    """
    if not 0 <= sigma <= 1:
        raise ValueError(f"sigma={sigma:g} is a fraction of noise: it lies between 0 and 1")
    levels = equal_noise_sigmas() if sigmas is None else sigmas
    return int((levels - sigma).abs().argmin())


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """sigma' = s sigma / (1 + (s - 1) sigma) (Esser et al. 2024, eq. 23); s = 1 changes nothing."""
    return shift * sigma / (1 + (shift - 1) * sigma)


class FlowSchedule(nn.Module):
    """Levels a = 1 - sigma and b = sigma as buffers, T + 1 float32 entries; the last is clean.

    Args:
        floor: the smallest sigma that is queried: below, the model was hardly trained.
        train_steps: length of the grid sigma = 1, ..., 1 / train_steps that training draws from.
        sampler: steps -> (steps + 1,) falling sigmas of the model's own sampler, the last 0.
        reversed_training: training draws the data fraction from that grid, not the noise fraction
            (diffusers' script of Lumina 2).

    Raises:
        ValueError: a floor outside [0, 0.5].
    """

    a: Tensor
    b: Tensor

    def __init__(
        self,
        floor: float = SIGMA_FLOOR,
        train_steps: int = 1000,
        sampler: Callable[[int], Tensor] | None = None,
        reversed_training: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= floor <= 0.5:
            raise ValueError(f"sigma_floor={floor} must lie between 0 and 0.5")
        sigma = equal_noise_sigmas().clamp_min(floor)
        sigma = torch.cat([sigma, torch.zeros(1, dtype=torch.float64)])
        self.register_buffer("a", (1 - sigma).float(), persistent=False)
        self.register_buffer("b", sigma.float(), persistent=False)
        self.timesteps = self.timesteps_with_signal = TIMESTEPS
        self.floor, self.train_steps = floor, train_steps
        self.sampler = sampler or (lambda steps: torch.linspace(1, 0, steps + 1))
        self.reversed_training = reversed_training

    def levels(self, t: int | float | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(a, b) that broadcast against `like` (B, ...): scalars, or one pair per row.

        Args:
            t: timesteps as integers (-1 is clean), or sigma itself as floats.

        Raises:
            ValueError: `t` is an integer outside the schedule.
        """
        if isinstance(t, float):
            sigma = torch.tensor(t, device=self.b.device)
            return 1 - sigma, sigma
        if isinstance(t, int):
            if t != -1:
                self.check(t)
            return self.a[t], self.b[t]
        shape = (-1,) + (1,) * (like.ndim - 1)
        if t.is_floating_point():
            return (1 - t).view(shape), t.view(shape)
        return self.a[t].view(shape), self.b[t].view(shape)

    def check(self, t: int) -> None:
        """Raises ValueError unless 0 <= t < timesteps: the clean level is never queried."""
        if not 0 <= t < self.timesteps:
            raise ValueError(f"timestep {t} is outside the schedule of {self.timesteps} steps")

    def network_time(self, t: Tensor) -> Tensor:
        """(B,) what a family's call takes as time: sigma in [0, 1], float32."""
        return t.float() if t.is_floating_point() else self.b[t]

    def training_time(self, index: Tensor, shift: float = 1.0) -> Tensor:
        """(B,) sigma at the places `index` (B,) of the training grid, as diffusers' scheduler
        orders it: place 0 is pure noise."""
        steps = self.train_steps
        sigma = shifted((steps - index).float() / steps, shift)
        return 1 - sigma if self.reversed_training else sigma
