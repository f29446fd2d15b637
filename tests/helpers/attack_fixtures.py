"""What the tests of attacks share: the papers' symbols one sample at a time, and made-up U-Nets.

Nothing here batches, shares or remembers, and levels come from a schedule written out again, so an
attack that agrees with a formula spelled in these words computes that formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mia_bench.attacks import Attack, Calibration
from mia_bench.target import Batch, Target
from mia_bench.target.diffusion import keyed_noise

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - BETAS, dim=0).tolist()
NOTHING = Calibration({}, np.zeros(0, dtype=bool), np.zeros(0, dtype=str))


class Literal:
    """The symbols of one target and batch, for row i: a_t, b_t, z0, noise, eps, DDIM moves."""

    def __init__(self, target: Target, batch: Batch) -> None:
        self.target, self.batch = target, batch
        self.rows = range(len(batch))

    def a(self, t: int) -> float:
        return math.sqrt(ALPHAS[t])

    def b(self, t: int) -> float:
        return math.sqrt(1 - ALPHAS[t])

    def z0(self, i: int, transform: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        image = self.batch.image[i : i + 1]
        return self.target.latents.encode(transform(image) if transform else image)[0]

    def noise(self, i: int, t: int, draw: int = 0) -> Tensor:
        sid = self.batch.sample_id[i]
        return keyed_noise(self.target.seed, sid, t, draw, self.target.latent_shape)

    @torch.no_grad()
    def eps(self, z: Tensor, t: int, caption: str) -> Tensor:
        hidden, _ = self.target.text.embed([caption])
        steps = torch.tensor([t])
        raw = self.target.unet(z[None], steps, encoder_hidden_states=hidden, return_dict=False)[0][
            0
        ]
        if self.target.prediction_type == "v_prediction":
            return self.a(t) * raw + self.b(t) * z
        return raw

    def move(self, z: Tensor, e: Tensor, t: int, s: int) -> Tensor:
        clean = (z - self.b(t) * e) / self.a(t)
        return self.a(s) * clean + self.b(s) * e


class Answers(nn.Module):
    """A U-Net that returns answer(z_t, t), t shaped to broadcast."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, z: Tensor, t: Tensor, **_: Any) -> tuple[Tensor]:
        return (self.answer(z, t.expand(len(z)).view(-1, 1, 1, 1)),)


def assert_row_by_row(
    attack: Attack, features: dict[str, Any], calibration: Calibration = NOTHING, rtol: float = 0.0
) -> None:
    """score(features[rows]) == score(features)[rows], for rows out of order and fewer."""
    rows = np.array([2, 0])
    some = {name: values[rows] for name, values in features.items()}
    np.testing.assert_allclose(
        attack.score(some, calibration), attack.score(features, calibration)[rows], rtol=rtol
    )
