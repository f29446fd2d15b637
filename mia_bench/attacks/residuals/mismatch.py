"""Mismatched captions: how much worse an image is denoised under captions of other images.

Idea: after MoFit (ICLR 2026, arXiv 2602.22689), which observes that a member's loss rises more
under a condition that is not its own. MoFit fits such a condition to the image in hundreds of
gradient steps; this is its cheapest relative [ours].
    l(c)  = mean_d ( eps(q(z0, t, e), t, c) - e )^2            e shared by all conditions
    score = 1/k sum_i l(c'_i) - l(c),         c'_1 ... c'_k captions of nobody's image
against: empty has l(null condition) in the place of l(c), for data without captions.
Access: GREY_BOX. NFE: k + 2 (8 by default); l(c) and l(null) are CLiD's queries at the same t.
Differs: an attack sees the captions of its batch alone, and a score must not depend on the images
that happen to share the batch. So c'_i are fixed and listed in the yaml, generic and unlike each
other, where MoFit's are made for the image. An image whose own caption is among them loses a term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.target import Batch, Query, Target, grid_mse

GENERIC_CAPTIONS = (
    "a photograph of a city street at night",
    "a bowl of fruit on a wooden table",
    "a portrait of a smiling woman",
    "a mountain landscape with a lake",
    "a dog running on the grass",
    "an abstract pattern of coloured shapes",
)


@dataclass(frozen=True)
class CaptionMismatch:
    """Args: `captions` c'_i; `t` timestep; `against` the image's own caption or none."""

    captions: tuple[str, ...] = GENERIC_CAPTIONS
    t: int = 450
    against: Literal["caption", "empty"] = score_field("caption")
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        blank = [caption for caption in self.captions if not caption.strip()]
        if not self.captions or blank or len(set(self.captions)) < len(self.captions):
            raise ValueError(
                f"captions={list(self.captions)}: at least one is needed, none empty, each once"
            )

    @property
    def nfe(self) -> tuple[int, int]:
        return len(self.captions) + 2, 0

    @property
    def needs_captions(self) -> bool:
        """Without captions the image's own is the empty one, and no caption is mismatched."""
        return self.against == "caption"

    @property
    def needs_text(self) -> bool:
        """A model that takes no captions has one loss under all of them, and every score is 0."""
        return True

    def asks_at(self, schedule: int) -> Sequence[int]:
        return (self.t,)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`loss` (B, k + 2): under the caption, the null condition and c'_1 ... c'_k."""
        others = [target.embed([caption] * len(batch)) for caption in self.captions]
        conditions = [target.embed(batch.caption), target.null(batch), *others]
        queries = [Query(self.t, c) for c in conditions]
        return {"loss": grid_mse(target, target.view(batch), queries)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """The rise of the loss; nothing is fitted."""
        del calibration
        loss = np.asarray(features["loss"], dtype=np.float64)
        reference = loss[:, 0 if self.against == "caption" else 1]
        rise: Floats = loss[:, 2:].mean(axis=1) - reference
        return rise
