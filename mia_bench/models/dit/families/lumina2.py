"""Lumina Image 2 (Qin et al. 2025, arXiv 2503.21758).

Latents (z - shift) * scale of 16 channels; the network is told the data fraction 1 - sigma and
returns z0 - eps: the NEGATED velocity. Text: Gemma 2 behind a system prompt that the pipeline
writes before captions, and not before the empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.dit.family import TransformerFamily, called_by, kl_units, with_null


def embed(
    pipe: Any, captions: list[str], device: torch.device, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    hidden, mask, null, null_mask = pipe.encode_prompt(
        list(captions),
        do_classifier_free_guidance="" in captions,
        device=device,
        max_sequence_length=tokens,
    )
    if null is not None:
        hidden, mask = with_null((hidden, mask), (null, null_mask), captions)
    return hidden, {"mask": mask.bool()}


def velocity(
    network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
) -> Tensor:
    output: Tensor = network(
        hidden_states=z_t,
        timestep=1 - time,
        encoder_hidden_states=hidden,
        encoder_attention_mask=extra["mask"],
        return_dict=False,
    )[0]
    return -output


FAMILY = TransformerFamily(
    pipeline="Lumina2Pipeline",
    transformer="Lumina2Transformer2DModel",
    vae="AutoencoderKL",
    encoders=("text_encoder",),
    units=kl_units,
    embed=embed,
    call=called_by(velocity),
    tokens=256,
    sequence=lambda shape: shape[0],  # diffusers' pipeline takes the channels for the length
    reversed_training=True,
)
