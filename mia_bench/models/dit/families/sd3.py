"""Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv 2403.03206).

Latents (z - shift) * scale of 16 channels; velocity eps - z0; the network is told 1000 sigma. Text:
CLIP-L and CLIP-G side by side, padded to T5's width, then T5; both CLIPs' pooled embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.dit.family import TransformerFamily, called_by, kl_units


def embed(
    pipe: Any, captions: list[str], device: torch.device, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    hidden, _, pooled, _ = pipe.encode_prompt(
        captions,
        None,
        None,
        device=device,
        do_classifier_free_guidance=False,
        max_sequence_length=tokens,
    )
    return hidden, {"pooled": pooled}


def velocity(
    network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
) -> Tensor:
    output: Tensor = network(
        hidden_states=z_t,
        timestep=1000 * time,
        encoder_hidden_states=hidden,
        pooled_projections=extra["pooled"],
        return_dict=False,
    )[0]
    return output


FAMILY = TransformerFamily(
    pipeline="StableDiffusion3Pipeline",
    transformer="SD3Transformer2DModel",
    vae="AutoencoderKL",
    encoders=("text_encoder", "text_encoder_2", "text_encoder_3"),
    units=kl_units,
    embed=embed,
    call=called_by(velocity),
    tokens=256,
    samples_sigmas=False,
)
