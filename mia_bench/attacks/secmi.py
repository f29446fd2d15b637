"""SecMI: error of one deterministic step there and back.

Paper: Duan et al., "Are Diffusion Models Vulnerable to Membership Inference Attacks?", ICML 2023,
arXiv 2302.01316.
Idea: on a member's own noising path the model agrees with itself from one step to the next.
    z~    = DDIM inversion of z0:  0 -> k -> 2k -> ... -> t_sec
    z'    = DDIM(DDIM(z~; t_sec -> t_sec + k); t_sec + k -> t_sec)
    statistic: score = - || z' - z~ ||_2^2
    nns:       score = ResNet-18( |z' - z~| ), fitted to the membership of calibration rows
What is measured: with u = t_sec + k, z' - z~ = (a_t b_u / a_u - b_t) (e_t - e_u), so the error is
how much the prediction changes from one step to the next, and not how wrong it is. That change is
the small rest of two larger ones that nearly cancel: of t at the same picture, and of the picture
at the same t. What is left of them differs from one t_sec to the next and from one training to
another, so that an AUC may lie far below 0.5 at one t_sec and near 1 at its neighbour
(docs/results/ddpm.md): read it with its t_sec, or choose that on the shadow.
Access: GREY_BOX. NFE: t_sec/k + 2. Queries at 0, k, ..., t_sec - k (inversion), at t_sec (up) and
at t_sec + k (down): 16 for t_sec = 140, 12 for t_sec = 100.
Differs: t_sec = 140 is what the authors' Stable Diffusion code compares; the paper's 100 is the
variant secmi100. The released DDPM code stops its inversion one stride early, at t_sec - k. For
nns: the network keeps torchvision's max-pool behind a 3x3 first convolution, maps are divided by
the root mean square of the calibration maps so that the recipe does not depend on latent units,
and the last of a fixed number of epochs is used; the released code trains on a fifth of the
evaluated rows and looks at the rest while it picks its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.attacks.components.resnet_classifier import (
    MIN_ROWS_PER_CLASS,
    ClassifierRecipe,
    Maps,
    classify,
)
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class SecMI:
    """Args: `t_sec` a multiple of the stride `k`; `decision`; from `lr` on, the recipe of nns."""

    t_sec: int = 140
    k: int = 10
    decision: Literal["statistic", "nns"] = "statistic"
    lr: float = score_field(1e-3)
    momentum: float = score_field(0.9)
    weight_decay: float = score_field(5e-4)
    batch: int = score_field(128)
    epochs: int = score_field(15)
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 1 or self.t_sec < self.k or self.t_sec % self.k:
            raise ValueError(f"t_sec={self.t_sec} must be a positive multiple of k={self.k}")
        if self.batch < 4 or self.epochs < 1 or self.lr <= 0:
            raise ValueError("batch must be at least 4, epochs at least 1 and lr positive")

    @property
    def statistics(self) -> bool:
        """False where maps are stored."""
        return self.decision == "statistic"

    @property
    def nfe(self) -> tuple[int, int]:
        return self.t_sec // self.k + 2, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return range(0, self.t_sec + self.k + 1, self.k)

    @property
    def least_rows(self) -> int:
        return MIN_ROWS_PER_CLASS if self.decision == "nns" else 0

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`error` (B,) or, for nns, `map` (B, *latent)."""
        difference = round_trip(target, batch, self.t_sec, self.k)
        if self.decision == "nns":
            return {"map": difference.abs()}
        return {"error": difference.square().flatten(1).sum(1)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the error, with nothing fitted; or the output of the fitted network."""
        if self.decision == "nns":
            return self._classify(features["map"], calibration)
        scores: Floats = -np.asarray(features["error"], dtype=np.float64)
        return scores

    def _classify(self, maps: Maps, calibration: Calibration) -> Floats:
        calibration_maps = calibration.features["map"]
        unit = float(np.sqrt(np.square(calibration_maps, dtype=np.float64).mean())) or 1.0
        recipe = ClassifierRecipe(
            loss=lambda output, label: F.mse_loss(output[:, 0], label.float()),
            optimizer=partial(
                SGD, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
            ),
            epochs=self.epochs,
            batch=self.batch,
        )
        return classify(
            maps / unit, calibration_maps / unit, calibration.is_member, calibration.seed, recipe
        )


def round_trip(target: Target, batch: Batch, t_sec: int, k: int) -> Tensor:
    """z' - z~ (B, *latent); attacks on one batch share it."""
    view, c, up = target.view(batch), target.embed(batch.caption), t_sec + k

    def walk() -> Tensor:
        z = view.z0
        for t in range(0, t_sec, k):
            z = target.denoise(z, t, t + k, c)
        there = target.denoise(z, t_sec, up, c)
        return (target.denoise(there, up, t_sec, c) - z).float()

    return target.remember(f"round trip t_sec={t_sec} k={k}", view, c, walk)
