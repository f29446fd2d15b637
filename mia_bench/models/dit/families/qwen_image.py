"""Qwen-Image (Qwen team 2025, arXiv 2508.02324).

Latents of a video autoencoder with one frame, (z - mean) / std per channel, packed into squares of
2 x 2; velocity eps - z0; the network is told sigma. Text: Qwen2.5-VL under a template whose first
tokens are dropped; captions have their own lengths, so the network gets a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.dit.family import (
    LatentUnits,
    PackedVelocity,
    PartConfig,
    TransformerFamily,
    padded,
)
from mia_bench.target.engine.noise_predictor import NetworkCall


def units(vae: PartConfig) -> LatentUnits:
    shrink = 2 ** len(vae["temperal_downsample"])
    scale = [1 / std for std in vae["latents_std"]]
    return LatentUnits(vae["z_dim"], shrink, vae["latents_mean"], scale)


def embed(
    pipe: Any, captions: list[str], device: torch.device, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    hidden, mask = pipe.encode_prompt(captions, device=device, max_sequence_length=tokens)
    if mask is None:  # captions of one length
        mask = torch.ones(hidden.shape[:2], device=hidden.device)
    rows = [row[kept.bool()] for row, kept in zip(hidden, mask, strict=True)]
    hidden, is_text = padded(rows, tokens)
    return hidden, {"mask": is_text}


def call(config: PartConfig, guidance: float | None) -> NetworkCall:
    del config
    return PackedVelocity(inputs, guidance)


def inputs(z_t: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]) -> dict[str, Any]:
    """Captions up to the longest of the rows, their mask, and the shape of the images."""
    height, width = z_t.shape[-2:]
    longest = int(extra["mask"].sum(1).max())
    return {
        "encoder_hidden_states": hidden[:, :longest],
        "encoder_hidden_states_mask": extra["mask"][:, :longest],
        "img_shapes": [[(1, height // 2, width // 2)]] * len(z_t),
    }


FAMILY = TransformerFamily(
    pipeline="QwenImagePipeline",
    transformer="QwenImageTransformer2DModel",
    vae="AutoencoderKLQwenImage",
    encoders=("text_encoder",),
    units=units,
    embed=embed,
    call=call,
    tokens=512,
    packed=True,
)
