"""PixArt-alpha and PixArt-Sigma (Chen et al. 2023, arXiv 2310.00426; 2024, arXiv 2403.04692).

Epsilon on a linear schedule of betas, as Stable Diffusion; latents z * scale of 4 channels. The
network returns a learned variance behind its prediction: the first half of the channels is eps.
Alpha at 1024 px is told height, width and aspect ratio. Text: T5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.dit.family import PartConfig, TransformerFamily, kl_units
from mia_bench.target.engine.noise_predictor import NetworkCall

SIZED_SAMPLE = 128  # latent cells a side of the alpha model that is told the image's size
PIXELS_PER_CELL = 8


def embed(
    pipe: Any, captions: list[str], device: torch.device, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    hidden, mask, _, _ = pipe.encode_prompt(
        captions,
        do_classifier_free_guidance=False,
        device=device,
        max_sequence_length=tokens,
    )
    return hidden, {"mask": mask.bool()}


def call(config: PartConfig, guidance: float | None) -> NetworkCall:
    del guidance
    told = config.get("use_additional_conditions")
    sized = config.get("sample_size", SIZED_SAMPLE) == SIZED_SAMPLE if told is None else bool(told)
    return PixArtNoise(config["in_channels"], sized)


@dataclass(frozen=True)
class PixArtNoise:
    """Args: `channels` of the latents; `sized`: whether the network is told the image's size."""

    channels: int
    sized: bool

    def __call__(
        self, network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
    ) -> Tensor:
        sizes: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if self.sized:
            height, width = (float(PIXELS_PER_CELL * side) for side in z_t.shape[-2:])
            columns = [z_t.new_full((len(z_t), 1), side) for side in (height, width)]
            sizes["resolution"] = torch.cat(columns, dim=1)
            sizes["aspect_ratio"] = z_t.new_full((len(z_t), 1), height / width)
        output: Tensor = network(
            z_t,
            encoder_hidden_states=hidden,
            encoder_attention_mask=extra["mask"],
            timestep=time,
            added_cond_kwargs=sizes,
            return_dict=False,
        )[0]
        return output[:, : self.channels]


ALPHA = TransformerFamily(
    pipeline="PixArtAlphaPipeline",
    transformer="PixArtTransformer2DModel",
    vae="AutoencoderKL",
    encoders=("text_encoder",),
    units=kl_units,
    embed=embed,
    call=call,
    tokens=120,
    flow=False,
)
SIGMA = replace(ALPHA, pipeline="PixArtSigmaPipeline", tokens=300)
