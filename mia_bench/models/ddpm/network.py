"""The network of a pixel-space DDPM, behind the seams that Target has for text-to-image models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class Architecture:
    """A `UNet2DModel`, by what varies between DDPMs.

    Args:
        side: pixels per side of the images.
        widths: channels of each level; from one level to the next the side is halved.
        layers: residual blocks per level.
        attention: sides (pixels) of the levels whose blocks attend.
        head_width: channels per attention head, None for one head.
        norm_groups: groups of every group normalisation.
        dropout: share of activations dropped while training.
    """

    side: int
    widths: tuple[int, ...]
    layers: int
    attention: tuple[int, ...]
    head_width: int | None
    norm_groups: int
    dropout: float

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that make no network."""
        if not self.widths or min(self.widths) < 1 or self.layers < 1:
            raise ValueError(
                f"widths={list(self.widths)}, layers={self.layers}: one level at least"
            )
        if any(width % self.norm_groups for width in self.widths):
            raise ValueError(
                f"widths={list(self.widths)} must be multiples of norm_groups={self.norm_groups}"
            )
        shrink = 2 ** (len(self.widths) - 1)
        if self.side < 1 or self.side % shrink:
            raise ValueError(
                f"resolution={self.side} does not fit {len(self.widths)} levels of widths: it must "
                f"be a multiple of {shrink}"
            )
        if odd := [side for side in self.attention if side not in self.sides]:
            raise ValueError(
                f"attention={list(self.attention)}: there is no level of {odd[0]} px, the levels "
                f"have {', '.join(map(str, self.sides))}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must lie in [0, 1)")

    @property
    def sides(self) -> list[int]:
        """Pixels per side of every level, the finest first."""
        return [self.side >> level for level in range(len(self.widths))]

    def config(self) -> dict[str, Any]:
        """The arguments of diffusers' `UNet2DModel`."""
        attends = [side in self.attention for side in self.sides]
        return {
            "sample_size": self.side,
            "in_channels": 3,
            "out_channels": 3,
            "freq_shift": 0,
            "flip_sin_to_cos": False,
            "block_out_channels": tuple(self.widths),
            "layers_per_block": self.layers,
            "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
            "attention_head_dim": self.head_width,
            "norm_num_groups": self.norm_groups,
            "downsample_padding": 1,
            "dropout": self.dropout,
        }


def initialised(config: Mapping[str, Any], seed: int, dtype: torch.dtype) -> Any:
    """A `UNet2DModel` with random weights that `seed` alone decides."""
    from diffusers import UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = UNet2DModel(**config)
    return net if dtype is torch.float32 else net.to(dtype)


class Unconditional(nn.Module):
    """A `UNet2DModel` that is called as U-Nets with text are; the text is not looked at."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        encoder_hidden_states: Tensor | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """z_t (B, 3, H, W), t -> (prediction (B, 3, H, W),)."""
        del encoder_hidden_states, added_cond_kwargs, return_dict
        output: tuple[Tensor] = self.net(sample, timestep, return_dict=False)
        return output

    def save_pretrained(self, folder: Path, safe_serialization: bool = True) -> None:
        """Write the network into `folder` as diffusers does."""
        self.net.save_pretrained(folder, safe_serialization=safe_serialization)

    def enable_gradient_checkpointing(self) -> None:
        self.net.enable_gradient_checkpointing()


class Pixels(nn.Module):
    """The codec of a model in pixel space: latents are the image."""

    in_pixels = True

    def encode(self, image: Tensor) -> Tensor:
        return image

    def decode(self, z0: Tensor) -> Tensor:
        return z0


class NoText(nn.Module):
    """The text stack of a model without text: every caption is one token of zero."""

    anchor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchor", torch.zeros(1), persistent=False)

    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        return self.anchor.expand(len(captions), 1, 1).clone(), {}


def require_plain(config: Mapping[str, Any], path: str) -> None:
    """Raises MiaError unless a `UNet2DModel` of this configuration predicts noise of RGB images."""
    channels = config.get("in_channels", 3), config.get("out_channels", 3)
    if channels != (3, 3):
        raise MiaError(
            f"the network of {path} maps {channels[0]} channels to {channels[1]}: read are "
            "networks of RGB images that predict noise alone (no learned variance, no latents)."
        )
    if config.get("class_embed_type") or config.get("num_class_embeds"):
        raise MiaError(f"the network of {path} is conditioned on classes, which is not read.")
