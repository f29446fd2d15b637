"""Which pixels of an image a network attends to: maps (B, 1, H, W), larger = matters more.

`self_attention` asks a vision transformer that knows nothing of the target (DINO, arXiv
2104.14294): what its class token attends to in the last layer, the mean over heads.
`caption_difference` asks the target itself which part of the image its caption is about, by what
changes without the caption (DiffEdit, arXiv 2210.11427): its cross-attention says the same to those
who may look inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mia_bench.attacks.components.holes.saliency import blurred
from mia_bench.target import Batch, Query, Target
from mia_bench.utils.errors import MiaError

QUERIED_SHARE = 0.5  # of the schedule: DiffEdit's noise level
CAPTION_DRAWS = 3  # DiffEdit: 10
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WITHOUT_WEIGHTS = "a mask that needs no weights: edges or spectral_residual"


def self_attention(image: Tensor, encoder: str) -> Tensor:
    """What the class token attends to, of images (B, 3, H, W) in [-1, 1].

    Args:
        encoder: folder or hub id of a vision transformer of transformers.

    Raises:
        MiaError: its weights are not here, or it has no class token.
    """
    model = vision_transformer(encoder, image.device)
    output = _seen(model, image, output_attentions=True)
    patches = (_pixels(model.config.image_size) // _pixels(model.config.patch_size)) ** 2
    to_patches = output.attentions[-1][:, :, 0, -patches:].float().mean(1)
    return to_size(to_patches, image)


def class_token_encoder(encoder: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Images (B, 3, H, W) in [-1, 1] -> class tokens of the last layer (B, d).

    Raises as `self_attention`.
    """
    model = vision_transformer(encoder, device, "vit", "a measure that needs no weights")

    def encode(image: Tensor) -> Tensor:
        tokens: Tensor = _seen(model, image).last_hidden_state[:, 0]
        return tokens

    return encode


@torch.no_grad()
def _seen(model: Any, image: Tensor, **options: bool) -> Any:
    """What `model` makes of images in [-1, 1], in its own size and ImageNet's normalisation."""
    side = _pixels(model.config.image_size)
    enlarged = F.interpolate(image, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
    mean, std = (
        torch.tensor(v, device=image.device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return model((enlarged / 2 + 0.5 - mean) / std, **options)


@cache
def vision_transformer(
    encoder: str,
    device: torch.device,
    option: str = "mask_encoder",
    otherwise: str = WITHOUT_WEIGHTS,
) -> Any:
    """The frozen model, from safetensors that are here: nothing is downloaded.

    Args:
        option: what names it; otherwise: what needs no such model. Both in messages.

    Raises:
        MiaError: it is not here, is of another kind, or its weights are partial or pickles.
    """
    from transformers import AutoModel

    try:
        model, loaded = AutoModel.from_pretrained(
            encoder,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except Exception as error:  # transformers, safetensors and the hub each raise their own kinds
        raise MiaError(
            f"{option}={encoder} cannot be loaded ({type(error).__name__}): a folder or hub id "
            f"of a vision transformer with safetensors is needed, or {otherwise}."
        ) from error
    absent = sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler."))
    if absent:
        raise MiaError(f"{option}={encoder} lacks weights: {', '.join(absent[:3])}.")
    if not all(hasattr(model.config, name) for name in ("image_size", "patch_size")):
        raise MiaError(
            f"{option}={encoder} is a {type(model).__name__}, no vision transformer with "
            f"patches. Name one, as facebook/dino-vitb8, or {otherwise}."
        )
    return model.eval().requires_grad_(False).to(device)


def fetch_vision_transformer(
    encoder: str, option: str = "mask_encoder", otherwise: str = WITHOUT_WEIGHTS
) -> None:
    """Its weights are here afterwards; see `vision_transformer`.

    Raises:
        MiaError: there is no such model, or it is not to be had now.
    """
    from huggingface_hub import snapshot_download

    if not Path(encoder).is_dir():
        try:
            snapshot_download(encoder, allow_patterns=["*.json", "*.safetensors"])
        except Exception as error:  # the hub and the network each raise their own kinds
            raise MiaError(
                f"{option}={encoder}: no such folder, and it cannot be fetched "
                f"({type(error).__name__}). Point it at a folder, or use {otherwise}."
            ) from error
    vision_transformer(encoder, torch.device("cpu"), option, otherwise)


def caption_difference(target: Target, batch: Batch) -> Tensor:
    """What the caption changes: DiffEdit's map (arXiv 2210.11427), smoothed in place of clipped.

        M = mean over draws and channels of | eps_hat(z_t, t, c) - eps_hat(z_t, t, "") |

    NFE: 2 CAPTION_DRAWS per image.
    """
    t = mapped_timestep(target.timesteps)
    conditions = target.embed(batch.caption), target.null(batch)
    queries = [Query(t, cond, draw) for cond in conditions for draw in range(CAPTION_DRAWS)]
    own, without = target.predict_grid(target.view(batch), queries).float().chunk(2)
    change = (own - without).abs().mean((0, 2))
    return blurred(to_size(change.flatten(1), batch.image.to(target.device)))


def mapped_timestep(schedule: int) -> int:
    """Where a schedule of so many timesteps is asked."""
    return round(QUERIED_SHARE * schedule)


def to_size(values: Tensor, image: Tensor) -> Tensor:
    """(B, N) of N places, row by row, as a map of the size of images (B, C, H, W)."""
    height, width = image.shape[-2:]
    rows = round(math.sqrt(values.shape[1] * height / width))
    grid = values.float().unflatten(1, (1, rows, -1))
    return F.interpolate(grid, (height, width), mode="bilinear", align_corners=False)


def _pixels(value: Any) -> int:
    """A size that transformers' configurations give as a number or a pair."""
    return int(value if isinstance(value, int) else value[0])
