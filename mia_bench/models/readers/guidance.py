"""Latent consistency models: U-Nets that take a guidance scale beside the timestep.

Paper: Luo et al., "Latent Consistency Models", arXiv 2310.04378, section 4.2. Guidance is distilled
into the network, which is told w by an embedding like that of timesteps:
    f = exp(-log(10000) (0 ... H - 1) / (H - 1))        H half of the embedding's width
    embedding = [sin(1000 w f), cos(1000 w f)]          w = guidance - 1, as diffusers counts it
Such a network was trained at every twentieth timestep; between them it interpolates.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

PIPELINE_GUIDANCE = 8.5  # what diffusers' LatentConsistencyModelPipeline asks with


def guidance_embedding(guidance: float, width: int) -> Tensor:
    """(1, width) of the network's second input."""
    import torch
    from torch.nn import functional

    half = width // 2
    frequencies = torch.exp(torch.arange(half) * (-math.log(10_000) / (half - 1)))
    angles = 1000 * (guidance - 1) * frequencies
    embedding = torch.cat([angles.sin(), angles.cos()])
    padded: Tensor = functional.pad(embedding, (0, width % 2))
    return padded[None]


class FixedGuidance:
    """A hook on `time_embedding` that tells the network one guidance scale in every call."""

    def __init__(self, embedding: Tensor) -> None:
        self.embedding = embedding

    def __call__(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        times: Tensor = inputs[0]
        return times, self.embedding.to(times).expand(len(times), -1)


def fix_guidance(unet: Any, guidance: float | None) -> None:
    """Make `unet` take timesteps alone; its weights and their names stay as they are."""
    scale = PIPELINE_GUIDANCE if guidance is None else guidance
    embedding = guidance_embedding(scale, unet.config.time_cond_proj_dim)
    unet.time_embedding.register_forward_pre_hook(FixedGuidance(embedding))
