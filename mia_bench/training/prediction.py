"""What a network predicts of noised latents, against what it should, whatever it is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from mia_bench.target.diffusion import add_noise


class Levels(Protocol):
    def levels(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise level of timesteps (B,), each shaped to multiply `like`."""


@dataclass(frozen=True)
class Noised:
    """Latents (B, *latent), their noise, the levels a and b, and z_t = a z0 + b eps."""

    z0: Tensor
    eps: Tensor
    a: Tensor
    b: Tensor
    z_t: Tensor

    @classmethod
    def at(cls, schedule: Levels, z0: Tensor, t: Tensor, eps: Tensor) -> Noised:
        a, b = schedule.levels(t, z0)
        return cls(z0, eps, a, b, add_noise(z0, eps, a, b))


def squared_errors(raw: Tensor, noised: Noised, prediction_type: str, loss: str) -> Tensor:
    """(B, *latent) squared errors of a network's output, on what it predicts, or with `loss` clean
    on the clean latents of flow matching, z_t - sigma v."""
    if loss == "clean":
        raw, expected = noised.z_t - noised.b * raw, noised.z0
    elif prediction_type == "velocity":
        expected = noised.eps - noised.z0
    elif prediction_type == "epsilon":
        expected = noised.eps
    else:
        expected = noised.a * noised.eps - noised.b * noised.z0
    return F.mse_loss(raw, expected, reduction="none")


def implied_noise(raw: Tensor, noised: Noised, prediction_type: str) -> Tensor:
    """The noise (B, *latent) that an output implies.

    epsilon as it is; v: a v + b z_t (Salimans & Ho 2022); velocity eps - z0: z_t + a v.
    """
    if prediction_type == "epsilon":
        return raw
    if prediction_type == "velocity":
        return noised.z_t + noised.a * raw
    return noised.a * raw + noised.b * noised.z_t
