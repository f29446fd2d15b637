"""Gradient masking: a feature of CDI, used as an attack of its own.

Paper: Dubinski et al., "CDI: Copyrighted Data Identification in Diffusion Models", CVPR 2025,
arXiv 2411.12858; code `sprintml/copyrighted_data_identification`.
Idea: destroy the part of the latent the loss leans on most, and see how well the model knows it.
    g_t = | d || eps(z_t, t, c) - e_t ||_2 / d z_t |,   z_t = a_t z0 + b_t e_t
    M_t = the top 20 % of the entries of g_t
    z*  = z0 outside M_t, e_t inside
    f_t = || ( (e_t - z0) - eps(z*, t, c) )[M_t] ||_2            t = 0, 100, ..., 900
    classifier: score = P(member | f_0, f_100, ..., f_900) by logistic regression on standardised f
    threshold:  score = - mean_t f_t
Access: WHITE_BOX, for the gradients in its input. NFE: 2 forward and 1 backward per timestep, 20
and 10 by default.
Differs: CDI fits its logistic regression to these and 16 other features, and decides about sets of
samples; here these ten score single samples. That their direction is learned matters: what members
leave is smaller at some timesteps and larger at others, so `threshold`, our choice, may point the
wrong way. e_t is drawn for each timestep. As in the released code the clean latent is masked and
subtracted; `latent: noisy` is the paper's formula, with z_t in the place of z0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.target import Batch, Target

MIN_ROWS_PER_CLASS = 2


@dataclass(frozen=True)
class GradientMasking:
    """Args: `timesteps`; `top` share of entries masked; `latent` masked; `decision` rule."""

    timesteps: tuple[int, ...] = (0, 100, 200, 300, 400, 500, 600, 700, 800, 900)
    top: float = 0.2
    latent: Literal["clean", "noisy"] = "clean"
    decision: Literal["classifier", "threshold"] = score_field("classifier")
    access: ClassVar[Access] = Access.WHITE_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.timesteps or not 0 < self.top <= 1:
            raise ValueError("at least one timestep, and a top in (0, 1], are needed")

    @property
    def nfe(self) -> tuple[int, int]:
        return 2 * len(self.timesteps), len(self.timesteps)

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self.timesteps

    @property
    def least_rows(self) -> int:
        return MIN_ROWS_PER_CLASS if self.decision == "classifier" else 0

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`residual` (B, timesteps)."""
        z0 = target.view(batch).z0
        columns = [self._residual(target, batch, z0, t) for t in self.timesteps]
        return {"residual": torch.stack(columns, 1)}

    def _residual(self, target: Target, batch: Batch, z0: Tensor, t: int) -> Tensor:
        """f_t of every row, (B,)."""
        eps = target.noise(batch.sample_id, t)
        z_t = target.add_noise(z0, eps, t)
        mask = top_entries(input_gradient(target, batch.caption, z_t, eps, t), self.top)
        x = z0 if self.latent == "clean" else z_t
        with torch.no_grad():
            masked = torch.where(mask, eps, x)
            eps_hat = target.predict_noise(masked, t, target.embed(batch.caption)).float()
        missed = torch.where(mask, eps - x - eps_hat, torch.zeros_like(x))
        f_t: Tensor = torch.linalg.vector_norm(missed.flatten(1), dim=1)
        return f_t

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """CDI's classifier, or minus the mean residual, for which nothing is fitted.

        Raises:
            MiaError: too few calibration rows of a class to fit on.
        """
        residual = np.asarray(features["residual"], dtype=np.float64)
        if self.decision == "threshold":
            return np.asarray(-residual.mean(axis=1))
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        calibration.require(MIN_ROWS_PER_CLASS)
        calibration_residual = np.asarray(calibration.features["residual"], dtype=np.float64)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(calibration_residual, calibration.is_member)
        return np.asarray(model.predict_proba(residual)[:, 1], dtype=np.float64)


def input_gradient(
    target: Target, captions: Sequence[str], z_t: Tensor, eps: Tensor, t: int
) -> Tensor:
    """| d || eps(z_t, t, c) - eps ||_2 / d z_t |, (B, *latent), `gradient_chunk` rows at once.

    No row's prediction depends on another row, so the gradient of the sum holds each row's own.
    """

    def slopes(rows: slice) -> Tensor:
        with torch.enable_grad():
            z = z_t[rows].detach().requires_grad_(True)
            eps_hat = target.predict_noise(z, t, target.embed(captions[rows]), whole=True).float()
            away = torch.linalg.vector_norm((eps_hat - eps[rows]).flatten(1), dim=1)
            gradient = torch.autograd.grad(away.sum(), z)[0].abs()
        target.queries["backward"] += len(z)
        return gradient

    return torch.cat(list(target.with_gradients(len(z_t), slopes)))


def top_entries(magnitude: Tensor, share: float) -> Tensor:
    """Boolean mask of each row's round(share * entries) largest entries, at least one."""
    flat = magnitude.flatten(1)
    k = max(1, round(share * flat.shape[1]))
    mask = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, flat.topk(k, dim=1).indices, True)
    return mask.view_as(magnitude)
