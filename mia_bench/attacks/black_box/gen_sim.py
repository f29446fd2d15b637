"""Similarity of generated pictures: does the caption make the model draw the image again?

Papers: SD-MIA, CVPR 2026, arXiv 2605.27020; FSCA, arXiv 2506.11434; Pang and Wang, NDSS 2025,
arXiv 2312.08207 [the three read second hand].
Idea: from the caption of a member the model draws pictures that are more like it.
    g_vj  = generated from rewrite v of the caption, noise j          v = 1..V, j = 1..k
    s_vj  = similarity( x, g_vj )
    max:  score = mean_v z( max_j s_vj )            z: mean and std of calibration non-members
    mean: score = mean_v z( mean_j s_vj )
    classifier: score = P(member | s_v1 >= ... >= s_vk of every v) by logistic regression
    caption_stream: the classifier also takes the sorted  h_vj = cos(T, g_vj) - cos(T, x)
                    T: open_clip's embedding of the caption; the others of the pictures  (FSCA)
Access: BLACK_BOX: captions in, pictures out. NFE: V * k * steps, twice that with guidance other
than 1; 80 by default.
Noise is keyed by (seed, sample id, j): all rewrites of a caption start from the same k noises.
Differs: SD-MIA rewrites captions by a language model, 10 pictures of 40 guided steps for each of
three views (2,400 evaluations), compares CLIP embeddings of pictures and of what BLIP says of them,
scales over the whole set and chooses weights of views on labelled rows; here captions are rewritten
by fixed rules (caption_rewrites.py), views weigh the same, and calibration non-members scale.
Differs: FSCA sorts 64 to 128 similarities, and those of the caption, for a network of two streams;
here k of the pictures, and those of the caption with `caption_stream`, for a logistic regression.
Differs: the encoder. `tiny_vae` is the autoencoder that ships with this package, which sees layout
and colour; with open_clip's weights here, list `open_clip` in `measures` and `compare` by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, later_field, score_field
from mia_bench.attacks.black_box.caption_rewrites import Rewrite, rewritten
from mia_bench.attacks.black_box.picture_measures import (
    MIN_ROWS_PER_CLASS,
    SIGN,
    Encoders,
    PictureMeasure,
    caption_fit,
    classified,
    described,
    fetch_measure,
    picture_measure,
)
from mia_bench.attacks.components.similarity_scores import require_measured, standardised
from mia_bench.target import Batch, Target
from mia_bench.target.generation import ddim_moves, require_moves

CAPTION_GAP = "caption_gap"
"""Feature: how much better a generated picture fits the caption than the image does."""


@dataclass(frozen=True)
class GenSim:
    """Args:
    views: rewrites of the caption, see caption_rewrites.py.
    n_images: k, pictures generated for each view.
    steps: DDIM moves of each; guidance: classifier-free, 1 is none.
    measures: similarities computed and stored; compare: the one that scores.
    clip: open_clip "<model>/<pretrained tag>", or "local-dir:<folder>"; vit: of dino.
    caption_stream: also store how much better pictures fit the caption than the image does.
    decision: how the similarities of an image become its score.
    """

    views: tuple[Rewrite, ...] = ("caption",)
    n_images: int = 4
    steps: int = 20
    guidance: float = 1.0
    measures: tuple[PictureMeasure, ...] = ("tiny_vae", "mse", "ssim")
    clip: str = "ViT-B-32/laion2b_s34b_b79k"
    vit: str = later_field("facebook/dino-vitb16")
    caption_stream: bool = later_field(False)
    compare: Literal[PictureMeasure] = score_field("tiny_vae")
    decision: Literal["max", "mean", "classifier"] = score_field("max")
    access: ClassVar[Access] = Access.BLACK_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) < len(self.views):
            raise ValueError(f"views={list(self.views)}: at least one is needed, each once")
        if self.n_images < 1 or self.steps < 1:
            raise ValueError("n_images and steps must be at least 1")
        require_measured(self.compare, self.measures)

    @property
    def nfe(self) -> tuple[int, int]:
        calls = 1 if self.guidance == 1.0 else 2
        return len(self.views) * self.n_images * self.steps * calls, 0

    @property
    def needs_captions(self) -> bool:
        """What is generated without a caption has nothing to do with the image."""
        return True

    @property
    def encoders(self) -> Encoders:
        return Encoders(self.clip, self.vit)

    @property
    def encoder_names(self) -> tuple[str, ...]:
        text = ("open_clip",) if self.caption_stream else ()
        return self.encoders.named_by((*self.measures, *text))

    @property
    def least_rows(self) -> int:
        return MIN_ROWS_PER_CLASS if self.decision == "classifier" else 0

    @property
    def remark(self) -> str:
        guided = "" if self.guidance == 1.0 else f" at guidance {self.guidance:g}"
        images = len(self.views) * self.n_images
        return (
            f"generates {images} pictures an image in {self.steps} steps{guided} from "
            f"{', '.join(self.views)}: {self.nfe[0]} U-Net evaluations; compared by "
            f"{described(self.compare, self.encoders)}"
        )

    def asks_at(self, schedule: int) -> Sequence[int]:
        return [t for t, _ in ddim_moves(schedule, self.steps)]

    def check(self, schedule: int, resolution: int) -> None:
        """Raises MiaError where the steps do not fit the schedule."""
        require_moves(schedule, self.steps)

    def fetch(self) -> None:
        """Raises MiaError for a measure's weights that are not to be had."""
        for name in self.measures:
            fetch_measure(name, self.encoders)
        if self.caption_stream:
            fetch_measure("open_clip", self.encoders)

    @torch.no_grad()
    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """Each measure (B, views, images), and CAPTION_GAP with `caption_stream`."""
        original = batch.image.to(target.device)
        columns: dict[str, list[Tensor]] = {name: [] for name in self.measures}
        for view in self.views:
            pictures = self._generated(target, batch, view)
            repeated = original.repeat(self.n_images, 1, 1, 1)
            for name in self.measures:
                values = picture_measure(name, target.device, self.encoders)(repeated, pictures)
                columns[name].append(values.view(self.n_images, len(batch)).T)
            if self.caption_stream:
                fits = caption_fit(batch.caption, self.clip, target.device)
                gap = fits(pictures).view(self.n_images, len(batch)) - fits(original)
                columns.setdefault(CAPTION_GAP, []).append(gap.T)
        return {name: torch.stack(views, 1) for name, views in columns.items()}

    def _generated(self, target: Target, batch: Batch, view: Rewrite) -> Tensor:
        """(n_images * B, 3, H, W): all rows of the first noise, then of the next."""
        draws = range(self.n_images)
        captions = [rewritten(c, view, draw) for draw in draws for c in batch.caption]
        keys = [(sid, draw) for draw in draws for sid in batch.sample_id]
        return target.generate(captions, target.seed, self.steps, self.guidance, keys)

    @torch.no_grad()
    def evidence(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """The image, the first picture of the first view, and the one most like the image."""
        original = batch.image.to(target.device)
        every = torch.cat([self._generated(target, batch, view) for view in self.views])
        repeated = original.repeat(len(every) // len(batch), 1, 1, 1)
        values = picture_measure(self.compare, target.device, self.encoders)(repeated, every)
        best = (SIGN[self.compare] * values).view(-1, len(batch)).argmax(0)
        rows = torch.arange(len(batch), device=best.device)
        pictures = every.view(-1, len(batch), *every.shape[1:])
        return {
            "original": original,
            "generated": pictures[0],
            "most alike": pictures[best, rows],
        }

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Mean over views of the standardised similarity, or P(member).

        Raises:
            MiaError: too few calibration rows of a class to fit a classifier on.
        """
        if self.decision == "classifier":
            rows, fitted_on = self._sorted(features), self._sorted(calibration.features)
            return classified(rows, fitted_on, calibration)
        others = self._by_view(calibration.features)[~calibration.is_member]
        return np.asarray(standardised(self._by_view(features), others).mean(axis=1))

    def _similarity(self, features: Features) -> Floats:
        """(N, views, images), larger = more alike."""
        return SIGN[self.compare] * np.asarray(features[self.compare], dtype=np.float64)

    def _by_view(self, features: Features) -> Floats:
        """(N, views)."""
        similarity = self._similarity(features)
        by_view: Floats = similarity.max(2) if self.decision == "max" else similarity.mean(2)
        return by_view

    def _sorted(self, features: Features) -> Floats:
        """(N, streams * views * images), falling within a view: which noise gave which tells
        nothing."""
        streams = [self._similarity(features)]
        if self.caption_stream:
            streams.append(np.asarray(features[CAPTION_GAP], dtype=np.float64))
        falling = [-np.sort(-values, axis=2) for values in streams]
        return np.concatenate([values.reshape(len(values), -1) for values in falling], axis=1)
