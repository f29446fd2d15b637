"""Noise as a probe: the target generates from the noise that its base finds behind the image.

Paper: "Noise as a Probe", arXiv 2601.21628 [P], its appendix [S].
Idea: the base's DDIM inversion of an image is noise that still holds its meaning; a target that was
trained on the image turns this noise back into it, another one into something like it.
    z_T   = DDIM inversion of z0 by the base, 100 steps, eps = (1 + g2) eps_c - g2 eps_0,   g2 = 1
    xgen  = decode( DDIM of z_T by the target, 50 steps, eps = eps_0 + g1 (eps_c - eps_0) )
    score = - || x - xgen ||_2         g1 = 3.5; eps_c, eps_0: caption, null condition
Access: GREY_BOX. Of the target it needs images alone, but from initial noise of the attacker's
choice, which an ordinary service does not take; of the base, which is public, noise predictions.
NFE: 2 * 100 of the base and 2 * 50 of the target: 300, counted together.
Differs: g1 is the usual guidance scale [ASSUME: the paper prints one symbol for both]. The distance
is of pixels. The threshold is fixed as for every attack, where the paper takes the 15th percentile
of known non-members. The appendix prints the inequality reversed [S]; near is member here. On a
schedule whose last timesteps are pure noise, the walk turns at the last with signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats
from mia_bench.target import Batch, Target
from mia_bench.target.generation import ddim_moves, require_moves


@dataclass(frozen=True)
class NoiseProbe:
    """Args: DDIM moves of the base's inversion and of the target's generation, and how strongly
    each is guided: `inversion_guidance` is g2, `guidance` is g1."""

    inversion_steps: int = 100
    steps: int = 50
    inversion_guidance: float = 1.0
    guidance: float = 3.5
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_base: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.inversion_steps, self.steps) < 2:
            raise ValueError(
                f"inversion_steps={self.inversion_steps} and steps={self.steps} must be at least 2"
            )

    @property
    def nfe(self) -> tuple[int, int]:
        return 2 * (self.inversion_steps + self.steps), 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        require_moves(schedule, self.inversion_steps, "inversion_steps")
        require_moves(schedule, self.steps)
        up = (max(s, 0) for _, s in ddim_moves(schedule, self.inversion_steps))
        down = (t for t, _ in ddim_moves(schedule, self.steps))
        return sorted({*up, *down})

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`distance` (B,): || x - xgen ||_2."""
        z_T = self._inverted(target.base, batch)
        x_gen = target.decode(self._generated(target, batch, z_T))
        difference = (batch.image.to(x_gen.device) - x_gen).flatten(1)
        return {"distance": torch.linalg.vector_norm(difference, dim=1)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the distance; nothing is fitted."""
        del calibration
        scores: Floats = -np.asarray(features["distance"], dtype=np.float64)
        return scores

    def _inverted(self, base: Target, batch: Batch) -> Tensor:
        """z_T (B, *latent): every move away from the image goes by eps at the step it leaves."""
        z = base.view(batch).z0
        for t, s in reversed(ddim_moves(base.timesteps_with_signal, self.inversion_steps)):
            # from the clean image too, the network is told its first timestep
            eps = _guided(base, batch, z, max(s, 0), 1 + self.inversion_guidance)
            z = base.move(z, eps, s, t)
        return z

    def _generated(self, target: Target, batch: Batch, z: Tensor) -> Tensor:
        """Clean latents (B, *latent)."""
        for t, s in ddim_moves(target.timesteps_with_signal, self.steps):
            z = target.move(z, _guided(target, batch, z, t, self.guidance), t, s)
        return z


def _guided(model: Target, batch: Batch, z: Tensor, t: int, scale: float) -> Tensor:
    """eps_0 + scale (eps_c - eps_0): with scale = 1 + g, (1 + g) eps_c - g eps_0."""
    eps_c = model.predict_noise(z, t, model.embed(batch.caption))
    eps_0 = model.predict_noise(z, t, model.null(batch))
    return eps_0 + scale * (eps_c - eps_0)
