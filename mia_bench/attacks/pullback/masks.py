"""Which entries of a latent count: those that move the decoded image most, or as many at random.

Paper: arXiv 2511.20592 (CVPR 2026), code mx-ethan-rao/VAE2Diffusion, tables [S]: read second hand.
Idea: a latent has directions that the decoder ignores; what a model predicts there is noise to an
attack, whose statistic r therefore sums over the others alone.
    mask_i = 1 if Infl_i > percentile_{100 drop}(Infl) of this image, else 0        drop = .4
    S      = sum_i mask_i |r_i|^p
Infl: mia_bench/target/decoder_influence.py, by n = 8 probes. The control leaves out the same number
of entries, drawn at random: it says what is owed to the influence and not to leaving out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks.base import Attack, Features, Floats
from mia_bench.target import Batch, Target

Mask = Literal["influence", "random"]
REMARK = "the influence of the decoder says no more than a mask drawn at random"


def check_mask(drop: float, probes: int) -> None:
    """Raises ValueError for options that make no mask."""
    if not 0 <= drop < 1 or probes < 1:
        raise ValueError(f"drop={drop} must be at least 0 and below 1, probes={probes} at least 1")


def mask_version(drop: float) -> int:
    """`version` of a pull-back attack: features of drop=0 once lacked the least entry, and are not
    to be taken for those of today; all others are as they were."""
    return 2 if drop == 0 else 1


def masked_sums(
    target: Target, batch: Batch, residual: Tensor, p: int, drop: float, probes: int
) -> dict[str, Tensor]:
    """S (B,) of a statistic (B, *latent) under either mask, by the mask's name."""
    power = residual.float().abs().pow(p)
    noise = target.noise([f"random mask|{sid}" for sid in batch.sample_id], None)
    ranked = {"influence": target.decoder_influence(batch, probes), "random": noise}
    return {
        name: (power * largest(values, drop)).flatten(1).sum(1) for name, values in ranked.items()
    }


def largest(values: Tensor, drop: float) -> Tensor:
    """(B, *f) of 0 and 1: the entries of each row above the row's own quantile `drop`; all of them
    where nothing is dropped."""
    if drop == 0:  # the least entry is its own quantile 0, and not above it
        return torch.ones_like(values)
    rows = values.flatten(1)
    # row by row, as torch.quantile takes no more than 16 million entries
    level = torch.stack([torch.quantile(row, drop) for row in rows])
    return (rows > level[:, None]).view_as(values).to(values.dtype)


def random_control(attack: Any) -> tuple[str, Attack, str] | None:
    """`plain()` of a pull-back attack: the same with as many entries left out at random."""
    if attack.mask == "random":
        return None
    return f"{attack.host}_randommask", replace(attack, mask="random"), REMARK


def masked_score(features: Features, mask: Mask) -> Floats:
    """Minus S under `mask`; nothing is fitted."""
    scores: Floats = -np.asarray(features[mask], dtype=np.float64)
    return scores
