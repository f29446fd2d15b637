"""Sana (Xie et al. 2024, arXiv 2410.10629).

Latents z * scale of a deterministic autoencoder that shrinks by 32; velocity eps - z0; the network
is told 1000 sigma times its own timestep_scale. Text: Gemma 2 behind an instruction that the
pipeline writes before captions, and not before the empty one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.dit.family import LatentUnits, PartConfig, TransformerFamily, with_null
from mia_bench.target.engine.noise_predictor import NetworkCall


def units(vae: PartConfig) -> LatentUnits:
    shrink = 2 ** (len(vae["encoder_block_out_channels"]) - 1)
    return LatentUnits(vae["latent_channels"], shrink, 0.0, vae["scaling_factor"])


def embed(
    pipe: Any, captions: list[str], device: torch.device, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    instruction = inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"]
    hidden, mask, null, null_mask = pipe.encode_prompt(
        list(captions),
        do_classifier_free_guidance="" in captions,
        device=device,
        max_sequence_length=tokens,
        complex_human_instruction=instruction.default,
    )
    if null is not None:
        hidden, mask = with_null((hidden, mask), (null, null_mask), captions)
    return hidden, {"mask": mask.bool()}


def call(config: PartConfig, guidance: float | None) -> NetworkCall:
    del guidance
    channels = config["in_channels"]
    return SanaVelocity(1000 * config.get("timestep_scale", 1.0), channels)


@dataclass(frozen=True)
class SanaVelocity:
    """Args: `scale` of sigma; `channels` of the latents, of which a learned variance is no part."""

    scale: float
    channels: int

    def __call__(
        self, network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
    ) -> Tensor:
        output: Tensor = network(
            z_t,
            encoder_hidden_states=hidden,
            encoder_attention_mask=extra["mask"],
            timestep=self.scale * time,
            return_dict=False,
        )[0]
        return output[:, : self.channels]


FAMILY = TransformerFamily(
    pipeline="SanaPipeline",
    transformer="SanaTransformer2DModel",
    vae="AutoencoderDC",
    encoders=("text_encoder",),
    units=units,
    embed=embed,
    call=call,
    tokens=300,
    patch=1,
    samples_sigmas=False,
)
