"""Image to image: a member that is noised and sampled again comes back more like itself.

Paper: "GenAI Confessions", ICCV workshops 2025, arXiv 2501.06399 [read second hand]; sampling from
a noised image: SDEdit, arXiv 2108.01073.
Idea: the model changes an image that it has memorised less, at every strength.
    g_sj = the last s * steps moves from a x + b e_j, under the caption      s: strengths, j = 1..n
    d_s  = mean_j distance( x, g_sj )
    mean:       score = - mean_s z( d_s )             z: mean and std of calibration non-members
    classifier: score = P(member | d_s of every strength) by logistic regression
Access: BLACK_BOX: an image and its caption in, pictures out. NFE: n * sum over s of
round(s * steps), twice that with guidance other than 1; 30 by default.
Noise is keyed by (seed, sample id, j), the same at every strength. It needs no caption, and works
on models without text.
Differs: the paper compares by DreamSim, whose weights are not to be had offline; here by the
latents of the packaged autoencoder (`tiny_vae`), and by open_clip where its weights are. Strengths,
steps and n are not known to us [ASSUME]; the paper's decision is the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, later_field, score_field
from mia_bench.attacks.black_box.picture_measures import (
    MIN_ROWS_PER_CLASS,
    SIGN,
    Encoders,
    PictureMeasure,
    classified,
    described,
    fetch_measure,
    picture_measure,
)
from mia_bench.attacks.components.similarity_scores import require_measured, standardised
from mia_bench.target import Batch, Target
from mia_bench.target.generation import ddim_moves, moves_of, require_moves


@dataclass(frozen=True)
class ImageToImage:
    """Args:
    strengths: shares of the moves that are made, in (0, 1], rising.
    n_draws: n, pictures at each strength; steps: moves at strength 1.
    guidance: classifier-free, 1 is none; condition: the text that pictures are made under.
    measures: similarities computed and stored; compare: the one that scores.
    clip: open_clip "<model>/<pretrained tag>", or "local-dir:<folder>"; vit: of dino.
    decision: how the similarities of an image become its score.
    """

    strengths: tuple[float, ...] = (0.3, 0.5, 0.7)
    n_draws: int = 1
    steps: int = 20
    guidance: float = 1.0
    condition: Literal["caption", "empty"] = "caption"
    measures: tuple[PictureMeasure, ...] = ("tiny_vae", "mse", "ssim")
    clip: str = "ViT-B-32/laion2b_s34b_b79k"
    vit: str = later_field("facebook/dino-vitb16")
    compare: Literal[PictureMeasure] = score_field("tiny_vae")
    decision: Literal["mean", "classifier"] = score_field("mean")
    access: ClassVar[Access] = Access.BLACK_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.strengths or list(self.strengths) != sorted(set(self.strengths)):
            raise ValueError(f"strengths={list(self.strengths)}: rising, each once, are needed")
        if not 0 < self.strengths[0] <= self.strengths[-1] <= 1:
            raise ValueError(f"strengths={list(self.strengths)} must lie in (0, 1]")
        if self.n_draws < 1 or self.steps < 1:
            raise ValueError("n_draws and steps must be at least 1")
        require_measured(self.compare, self.measures)

    @property
    def nfe(self) -> tuple[int, int]:
        calls = 1 if self.guidance == 1.0 else 2
        moves = sum(moves_of(self.steps, strength) for strength in self.strengths)
        return self.n_draws * moves * calls, 0

    @property
    def encoders(self) -> Encoders:
        return Encoders(self.clip, self.vit)

    @property
    def encoder_names(self) -> tuple[str, ...]:
        return self.encoders.named_by(self.measures)

    @property
    def least_rows(self) -> int:
        return MIN_ROWS_PER_CLASS if self.decision == "classifier" else 0

    @property
    def remark(self) -> str:
        strengths = ", ".join(f"{strength:g}" for strength in self.strengths)
        guided = "" if self.guidance == 1.0 else f" at guidance {self.guidance:g}"
        return (
            f"generates {len(self.strengths) * self.n_draws} pictures an image from itself at "
            f"strength {strengths} of {self.steps} steps{guided}: {self.nfe[0]} U-Net evaluations; "
            f"compared by {described(self.compare, self.encoders)}"
        )

    def asks_at(self, schedule: int) -> Sequence[int]:
        last = moves_of(self.steps, self.strengths[-1])
        return [t for t, _ in ddim_moves(schedule, self.steps)[-last:]]

    def check(self, schedule: int, resolution: int) -> None:
        """Raises MiaError where the steps do not fit the schedule."""
        require_moves(schedule, self.steps)

    def fetch(self) -> None:
        """Raises MiaError for a measure's weights that are not to be had."""
        for name in self.measures:
            fetch_measure(name, self.encoders)

    @torch.no_grad()
    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """Each measure (B, strengths), the mean over draws."""
        original = batch.image.to(target.device)
        columns: dict[str, list[Tensor]] = {name: [] for name in self.measures}
        for strength in self.strengths:
            pictures = [self._varied(target, batch, strength, j) for j in range(self.n_draws)]
            for name in self.measures:
                compare = picture_measure(name, target.device, self.encoders)
                values = [compare(original, picture) for picture in pictures]
                columns[name].append(torch.stack(values).mean(0))
        return {name: torch.stack(values, 1) for name, values in columns.items()}

    def _varied(self, target: Target, batch: Batch, strength: float, draw: int) -> Tensor:
        """(B, 3, H, W)."""
        empty = self.condition == "empty"
        captions = [""] * len(batch) if empty else batch.caption
        return target.image_to_image(batch, captions, strength, self.steps, self.guidance, draw)

    @torch.no_grad()
    def evidence(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """The image, and what the least and the greatest strength make of it."""
        least, greatest = self.strengths[0], self.strengths[-1]
        return {
            "original": batch.image.to(target.device),
            f"strength {least:g}": self._varied(target, batch, least, 0),
            f"at most, {greatest:g}": self._varied(target, batch, greatest, 0),
        }

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Mean over strengths of the standardised similarity, or P(member).

        Raises:
            MiaError: too few calibration rows of a class to fit a classifier on.
        """
        rows, fitted_on = (self._similarity(f) for f in (features, calibration.features))
        if self.decision == "classifier":
            return classified(rows, fitted_on, calibration)
        return np.asarray(standardised(rows, fitted_on[~calibration.is_member]).mean(axis=1))

    def _similarity(self, features: Features) -> Floats:
        """(N, strengths), larger = more alike."""
        return SIGN[self.compare] * np.asarray(features[self.compare], dtype=np.float64)
