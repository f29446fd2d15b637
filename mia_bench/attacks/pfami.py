"""PFAMI: probabilistic fluctuation around an image.

Paper: Fu et al., "A Probabilistic Fluctuation based Membership Inference Attack for Diffusion
Models", arXiv 2308.12143.
Idea: a memorised image is a local maximum of the model's density, so the loss rises when the image
is changed a little: here, centre-cropped to a fraction lambda and resized back before encoding.
    l(x, t)          = mean_d ( eps(q(z0(x), t, e), t, c) - e )^2
    delta(lambda, t) = ( l(x_lambda, t) - l(x, t) ) / l(x, t)
    lambda in linspace(0.95, 0.70, 10),  t in 0, 50, ..., 450
    statistic: score = mean_t delta(lambda_5, t),  lambda_5 = 0.811
    nns:       score = log-odds of a ResNet-18 on the matrix delta, fitted on calibration rows
Features are delta itself, so that their difference to the base model's is the paper's calibrated
version.
Access: GREY_BOX. NFE: len(timesteps) * (1 + crops): 20 for the statistic, 110 for nns.
Differs: l(x, t) is the query other attacks make at the same t and runs once for all of them.
As in the paper x_lambda gets noise of its own; `paired` lends it the noise of x, which takes the
noise's share out of delta (our option). For nns the network is the authors' ResNet-18, which they
cut after its second stage, with torchvision's max-pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam
from torchvision.transforms import functional as pixels

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.attacks.components.resnet_classifier import (
    MIN_ROWS_PER_CLASS,
    ClassifierRecipe,
    Maps,
    classify,
)
from mia_bench.target import Batch, Query, Target, grid_mse

LAMBDAS = tuple(np.linspace(0.95, 0.70, 10).tolist())


@dataclass(frozen=True)
class PFAMI:
    """Args: `crop` index of the statistic's lambda; `lr` and `steps` of the nns recipe."""

    timesteps: tuple[int, ...] = tuple(range(0, 500, 50))
    crop: int = 5
    decision: Literal["statistic", "nns"] = "statistic"
    paired: bool = False
    lr: float = score_field(0.01)
    steps: int = score_field(110)
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.timesteps or min(self.timesteps) < 0:
            raise ValueError(f"timesteps={self.timesteps}: at least one, none negative")
        if not 0 <= self.crop < len(LAMBDAS):
            raise ValueError(f"crop={self.crop} is an index from 0 to {len(LAMBDAS) - 1}")
        if self.steps < 1 or self.lr <= 0:
            raise ValueError(f"steps={self.steps} must be at least 1 and lr={self.lr} positive")

    @property
    def crops(self) -> tuple[int, ...]:
        """Indices of the lambdas that are queried."""
        return tuple(range(len(LAMBDAS))) if self.decision == "nns" else (self.crop,)

    @property
    def nfe(self) -> tuple[int, int]:
        return len(self.timesteps) * (1 + len(self.crops)), 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self.timesteps

    @property
    def least_rows(self) -> int:
        return MIN_ROWS_PER_CLASS if self.decision == "nns" else 0

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`delta` (B, crops, timesteps). Raises ValueError for a t outside the schedule."""
        if max(self.timesteps) >= target.timesteps:
            last = max(self.timesteps)
            raise ValueError(f"t={last} is outside the schedule of {target.timesteps} steps")
        clean = self._loss(target, batch, None)
        rise = torch.stack([self._loss(target, batch, i) - clean for i in self.crops], dim=1)
        return {"delta": rise / clean[:, None]}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """The mean relative rise, with nothing fitted; or log-odds of the fitted network."""
        if self.decision == "nns":
            return self._classify(features["delta"], calibration)
        scores: Floats = np.asarray(features["delta"], dtype=np.float64).mean(axis=(1, 2))
        return scores

    def _loss(self, target: Target, batch: Batch, crop: int | None) -> Tensor:
        """l (B, timesteps) of the image, or of its crop with noise draw 1 + crop."""
        draw = 0 if crop is None or self.paired else 1 + crop
        c = target.embed(batch.caption)
        queries = [Query(t, c, draw) for t in self.timesteps]
        if crop is None:
            return grid_mse(target, target.view(batch), queries)
        transform = partial(centre_crop, fraction=LAMBDAS[crop])
        return grid_mse(target, target.view(batch, f"crop{LAMBDAS[crop]:.4f}", transform), queries)

    def _classify(self, delta: Maps, calibration: Calibration) -> Floats:
        recipe = ClassifierRecipe(
            loss=lambda output, label: F.cross_entropy(output, label.long()),
            optimizer=partial(Adam, lr=self.lr),
            epochs=self.steps,
            outputs=2,
            stages=2,
        )
        calibration_maps, labels = calibration.features["delta"][:, None], calibration.is_member
        return classify(delta[:, None], calibration_maps, labels, calibration.seed, recipe)


def centre_crop(image: Tensor, fraction: float) -> Tensor:
    """The central `fraction` of each side of (B, 3, H, W), resized back bilinearly."""
    height, width = image.shape[-2:]
    middle = pixels.center_crop(image, [int(height * fraction), int(width * fraction)])
    resized: Tensor = pixels.resize(middle, [height, width], antialias=True)
    return resized
