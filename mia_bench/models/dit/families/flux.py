"""FLUX.1 dev and schnell (Black Forest Labs 2024).

Latents (z - shift) * scale of 16 channels, packed into squares of 2 x 2; velocity eps - z0; the
network is told sigma, the places of its tokens and, where it was distilled with guidance (dev), the
scale of that guidance as an input: 1, the value of diffusers' training script, unless said
otherwise, and the same for the null condition. Text: T5; CLIP-L's pooled embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.dit.family import (
    PackedVelocity,
    PartConfig,
    TransformerFamily,
    kl_units,
)
from mia_bench.target.engine.noise_predictor import NetworkCall


def embed(
    pipe: Any, captions: list[str], device: torch.device, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    hidden, pooled, _ = pipe.encode_prompt(captions, device=device, max_sequence_length=tokens)
    return hidden, {"pooled": pooled}


def call(config: PartConfig, guidance: float | None) -> NetworkCall:
    del config
    return PackedVelocity(inputs, guidance)


def inputs(z_t: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]) -> dict[str, Any]:
    """Captions, and the places of all tokens."""
    height, width = z_t.shape[-2:]
    return {
        "pooled_projections": extra["pooled"],
        "encoder_hidden_states": hidden,
        "txt_ids": hidden.new_zeros(hidden.shape[1], 3),
        "img_ids": places(height // 2, width // 2, z_t.device).to(z_t.dtype),
    }


def places(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """(height * width, 3): (0, row, column) of every token. Made on the device: a copy to it would
    wait for what it is at work on."""
    sides = (torch.arange(side, device=device) for side in (height, width))
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()


FAMILY = TransformerFamily(
    pipeline="FluxPipeline",
    transformer="FluxTransformer2DModel",
    vae="AutoencoderKL",
    encoders=("text_encoder", "text_encoder_2"),
    units=kl_units,
    embed=embed,
    call=call,
    tokens=512,
    packed=True,
)
