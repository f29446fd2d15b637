"""FLUX.2 klein (Black Forest Labs 2026), base variants; the distilled ones are poor targets.

Latents of 32 channels, squares of 2 x 2 joined to one cell of 128, standardised by the running mean
and variance of the autoencoder's batch norm; velocity eps - z0; the network is told sigma and the
places of image and text in four coordinates. Text: three hidden states of Qwen3 under its chat
template, side by side, padding included. The sampler shifts its levels by a mu of the image's size
and the number of steps. FLUX.2 dev is not read: its text comes from Mistral behind a processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.dit.family import LatentUnits, PartConfig, TransformerFamily, called_by

SQUARE = 2  # latent cells per side that are joined


def units(vae: PartConfig) -> LatentUnits:
    """Shift and scale are weights: those of the batch norm."""
    shrink = SQUARE * 2 ** (len(vae["block_out_channels"]) - 1)
    eps = float(vae.get("batch_norm_eps", 1e-4))
    return LatentUnits(SQUARE**2 * vae["latent_channels"], shrink, 0.0, 1.0, eps)


def embed(
    pipe: Any, captions: list[str], device: torch.device, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    hidden, _ = pipe.encode_prompt(captions, device=device, max_sequence_length=tokens)
    return hidden, {}


def velocity(
    network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
) -> Tensor:
    del extra
    rows, _, height, width = z_t.shape
    image = places(height, width, 1, z_t.device)
    text = places(1, 1, hidden.shape[1], z_t.device)
    output: Tensor = network(
        hidden_states=z_t.flatten(2).transpose(1, 2),
        timestep=time.to(z_t.dtype),
        guidance=None,
        encoder_hidden_states=hidden,
        txt_ids=text.expand(rows, -1, -1),
        img_ids=image.expand(rows, -1, -1),
        return_dict=False,
    )[0]
    return output.transpose(1, 2).reshape(rows, -1, height, width)


def places(height: int, width: int, length: int, device: torch.device | str = "cpu") -> Tensor:
    """(height * width * length, 4): (0, row, column, position in the text) of every token."""
    sizes = (1, height, width, length)
    return torch.cartesian_prod(*(torch.arange(size, device=device) for size in sizes))


def sampling_shift(tokens: int, steps: int) -> float:
    """mu of the pipeline's sampler (diffusers' compute_empirical_mu)."""
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    return float(compute_empirical_mu(tokens, steps))


KLEIN = TransformerFamily(
    pipeline="Flux2KleinPipeline",
    transformer="Flux2Transformer2DModel",
    vae="AutoencoderKLFlux2",
    encoders=("text_encoder",),
    units=units,
    embed=embed,
    call=called_by(velocity),  # klein's network takes no guidance
    tokens=512,
    patch=1,
    sampling_shift=sampling_shift,
)
