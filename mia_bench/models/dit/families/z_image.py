"""Z-Image (Alibaba 2025, arXiv 2511.22699).

Latents (z - shift) * scale of 16 channels; the network is told the data fraction 1 - sigma, takes
lists, and returns z0 - eps: the NEGATED velocity. Text: Qwen3 under its chat template; captions
have their own lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.dit.family import TransformerFamily, called_by, kl_units, padded


def embed(
    pipe: Any, captions: list[str], device: torch.device, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    # encode_prompt writes its template into the list that it gets
    rows, _ = pipe.encode_prompt(
        list(captions), device=device, do_classifier_free_guidance=False, max_sequence_length=tokens
    )
    hidden, is_text = padded(rows, tokens)
    return hidden, {"mask": is_text}


def velocity(
    network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
) -> Tensor:
    captions = [row[kept] for row, kept in zip(hidden, extra["mask"], strict=True)]
    images = list(z_t.unsqueeze(2).unbind(0))  # one frame each
    output = network(images, 1 - time, captions, return_dict=False)[0]
    return -torch.stack(list(output)).squeeze(2)


FAMILY = TransformerFamily(
    pipeline="ZImagePipeline",
    transformer="ZImageTransformer2DModel",
    vae="AutoencoderKL",
    encoders=("text_encoder",),
    units=kl_units,
    embed=embed,
    call=called_by(velocity),
    tokens=512,
)
