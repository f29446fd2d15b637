"""What a model is still good for, beside what it gives away: losses, distances, sample pictures.

Every number is made from the `validation` role, never from a scored row, with one seed: models are
compared on the same captions, noise and number of images, as distances from few images are biased.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mia_bench.data.pictures.loader import batch_of, decode
from mia_bench.data.source import Item
from mia_bench.metrics import Floats
from mia_bench.metrics.frechet import frechet
from mia_bench.target import Query, Target, grid_mse
from mia_bench.training.batches import validation_timesteps

FRECHET_FEATURES = "own image encoder, latents averaged to 4x4"
POOLED_SIDE = 4  # latents are averaged to so many cells a side before a distance is taken
DDIM_STEPS = 20


INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity names its file


@dataclass(frozen=True)
class UtilityRows:
    """Rows that utility is measured on."""

    members: Sequence[Item]
    heldout: Sequence[Item]
    """Their captions are drawn; their images are the reference."""
    others: Sequence[Item]
    """More held-out rows: how far real images are from real images."""


def assess(
    target: Target, rows: UtilityRows, resolution: int, seed: int, batch: int, clip: str | None
) -> tuple[dict[str, Any], Tensor]:
    """Numbers for utility.json, and the generated images (N, 3, H, W) in [-1, 1].

    Args:
        clip: "<model>/<pretrained tag or file>" of open_clip, or None for no CLIP score.
    """
    heldout, null = losses(target, rows.heldout, resolution, batch)
    member, _ = losses(target, rows.members, resolution, batch)
    captions = [item.caption for item in rows.heldout]
    made = target.generate(captions, seed, DDIM_STEPS).cpu()
    real, other = (decode(items, resolution) for items in (rows.heldout, rows.others))
    reference = encoded(target, real)
    measured: dict[str, Any] = {
        "heldout_loss": heldout,
        "heldout_loss_null": null,
        "member_loss": member,
        "frechet": frechet(encoded(target, made), reference),
        "frechet_real": frechet(encoded(target, other), reference) if len(other) > 1 else None,
        "frechet_features": FRECHET_FEATURES,
        "n_images": len(made),
        "n_members": len(rows.members),
        "sampler_steps": DDIM_STEPS,
        "seed": seed,
        **inception_distance(made, real),
        **clip_score(made, captions, clip, target.device),
    }
    return measured, made


@torch.no_grad()
def losses(
    target: Target, items: Sequence[Item], resolution: int, batch: int
) -> tuple[float, float]:
    """Mean denoising loss (Ho et al. 2020, eq. 14) under the captions and under the empty one.

    Over the timesteps of validation, with noise keyed by the evaluation seed.
    """
    sums = torch.zeros(2, dtype=torch.float64)
    for begin in range(0, len(items), batch):
        part = batch_of(items[begin : begin + batch], resolution)
        view = target.view(part)
        for i, cond in enumerate((target.embed(part.caption), target.null(part))):
            queries = [Query(t, cond) for t in validation_timesteps(target.timesteps)]
            sums[i] += grid_mse(target, view, queries).mean(1).sum().double().cpu()
        target.forget()
    caption, null = (sums / len(items)).tolist()
    return caption, null


def encoded(target: Target, images: Tensor) -> Floats:
    """(N, C x POOLED_SIDE^2) features of images: the target's own latents, averaged in cells.

    Few dimensions, so that a few hundred images give a covariance; they see layout and colour, and
    little of what a network trained on labels would.
    """
    batches = [target.encode(part.to(target.device)).cpu() for part in images.split(target.chunk)]
    latents = torch.cat(batches)
    if latents.ndim == 4:
        latents = F.adaptive_avg_pool2d(latents, POOLED_SIDE)
    features: Floats = latents.flatten(1).double().numpy()
    return features


def inception_distance(made: Tensor, real: Tensor) -> dict[str, Any]:
    """FID of torchmetrics, when Inception's weights are in torch's hub folder."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if importlib.util.find_spec("torch_fidelity") is None:
        return {
            "fid": None,
            "fid_note": "torch-fidelity is not installed: pip install mia_bench[fid]",
        }
    if not path.is_file():
        return {"fid": None, "fid_note": f"Inception weights are not at {path.name} in torch's hub"}
    from torchmetrics.image.fid import FrechetInceptionDistance

    from mia_bench.utils.serialization import check_tensors

    check_tensors(path)

    metric: Any = FrechetInceptionDistance(feature_extractor_weights_path=str(path), normalize=True)
    for images, is_real in ((real, True), (made, False)):
        for part in images.split(16):
            metric.update(part / 2 + 0.5, real=is_real)
    note = f"{len(made)} images for 2048 dimensions: compare equal numbers only"
    return {"fid": float(metric.compute()), "fid_note": note}


@torch.no_grad()
def clip_score(
    made: Tensor, captions: Sequence[str], clip: str | None, device: torch.device
) -> dict[str, Any]:
    """Mean of max(100 cos(image, caption), 0) (Hessel et al. 2021, without their 2.5).

    Raises:
        MiaError: the named open_clip model or its weights are not to be had.
    """
    if clip is None:
        return {"clip_score": None, "clip_note": "no open_clip model: set eval.utility_clip"}
    from mia_bench.attacks.components.image_similarity import open_clip_encoder, open_clip_text

    images = torch.cat([open_clip_encoder(clip, device)(x.to(device)) for x in made.split(16)])
    texts = open_clip_text(clip, device)(captions)
    cosine = F.cosine_similarity(images.float(), texts.float())
    return {"clip_score": float((100 * cosine).clamp(min=0).mean()), "clip_note": clip}
