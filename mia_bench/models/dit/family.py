"""What a family of diffusion transformers consists of: the values that its file fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from mia_bench.target.engine.noise_predictor import NetworkCall

PartConfig: TypeAlias = Mapping[str, Any]
"""A part's config.json."""

Embed: TypeAlias = Callable[[Any, list[str], torch.device, int], tuple[Tensor, dict[str, Tensor]]]
"""(pipeline, captions, device, tokens) -> (hidden (B, tokens, width), extra), both of one length
whatever the captions; the empty caption gives the pipeline's own null condition."""


@dataclass(frozen=True)
class LatentUnits:
    """How an autoencoder's latents become those that the transformer sees: (z - shift) * scale.

    Args:
        channels: of the latents.
        shrink: pixels per latent cell, along a side.
        shift, scale: numbers, or (channels,) values.
        norm_eps: where squares of 2 x 2 cells are joined and standardised by the running mean and
            variance of the autoencoder's batch norm, its eps; else None.
    """

    channels: int
    shrink: int
    shift: float | Sequence[float]
    scale: float | Sequence[float]
    norm_eps: float | None = None


@dataclass(frozen=True)
class TransformerFamily:
    """One family of diffusers' pipelines.

    Args:
        pipeline, transformer, vae: names of diffusers' classes.
        encoders: text encoders that must be there; the tokenizer of `text_encoder_2` is
            `tokenizer_2`.
        units: vae's config -> its latents.
        embed: captions through the family's own pipeline.
        call: (transformer's config, guidance) -> how the network is called.
        tokens: of a caption, where model.tokens does not say another number.
        flow: rectified flow with velocities; else epsilon or v on betas.
        patch: latent cells that the transformer joins, along a side.
        packed: whether those are joined before they are handed to it.
        samples_sigmas: whether the pipeline hands its scheduler sigmas 1, ..., 1/n.
        sequence: latent shape -> length that the pipeline shifts its sigmas by.
        reversed_training: see FlowSchedule.
        sampling_shift: (tokens, steps) -> mu of the pipeline's sampler, where it is not the
            scheduler's own.
    """

    pipeline: str
    transformer: str
    vae: str
    encoders: tuple[str, ...]
    units: Callable[[PartConfig], LatentUnits]
    embed: Embed
    call: Callable[[PartConfig, float | None], NetworkCall]
    tokens: int
    flow: bool = True
    patch: int = 2
    packed: bool = False
    samples_sigmas: bool = True
    sequence: Callable[[tuple[int, ...]], int] | None = None
    reversed_training: bool = False
    sampling_shift: Callable[[int, int], float] | None = None

    @property
    def tokenizers(self) -> tuple[str, ...]:
        return tuple(name.replace("text_encoder", "tokenizer") for name in self.encoders)

    def sequence_length(self, shape: tuple[int, ...]) -> int:
        """Tokens of an image of latents (C, h, w), as the pipeline counts them."""
        if self.sequence is not None:
            return self.sequence(shape)
        return (shape[1] // self.patch) * (shape[2] // self.patch)


def called_by(call: NetworkCall) -> Callable[[PartConfig, float | None], NetworkCall]:
    """`TransformerFamily.call` of a family whose network is called alike whatever its
    configuration, and has no input for guidance."""
    return lambda _config, _guidance: call


def kl_units(vae: PartConfig) -> LatentUnits:
    """Of an AutoencoderKL; both numbers are needed where a family shifts its latents."""
    shrink = 2 ** (len(vae["block_out_channels"]) - 1)
    shift = vae.get("shift_factor") or 0.0
    return LatentUnits(vae["latent_channels"], shrink, shift, vae["scaling_factor"])


def pack(z: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h/2 * w/2, 4 C): squares of 2 x 2 cells as tokens, channels outermost."""
    b, c, h, w = z.shape
    squares = z.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(b, (h // 2) * (w // 2), 4 * c)


def joined(z: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, 4 C, h/2, w/2): squares of 2 x 2 cells as one, channels outermost."""
    return pack(z).transpose(1, 2).reshape(len(z), -1, z.shape[2] // 2, z.shape[3] // 2)


def parted(z: Tensor) -> Tensor:
    """The inverse of `joined`: (B, 4 C, h, w) -> (B, C, 2 h, 2 w)."""
    return unpack(z.flatten(2).transpose(1, 2), 2 * z.shape[2], 2 * z.shape[3])


def guidance_input(guidance: float | None, time: Tensor) -> Tensor | None:
    """(B,) what a distilled network is told as its guidance; None where it has no such input."""
    return None if guidance is None else torch.full_like(time, guidance)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack`: (B, h/2 * w/2, 4 C) -> (B, C, height, width)."""
    b, _, c = tokens.shape
    squares = tokens.view(b, height // 2, width // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(b, c // 4, height, width)


@dataclass(frozen=True)
class PackedVelocity:
    """A network on squares of 2 x 2 cells that predicts the velocity eps - z0 and is told sigma.

    Args:
        inputs: what else it takes, by name: of latents (B, C, h, w), hidden states and extras.
        guidance: input of a distilled network, None where it has none.
    """

    inputs: Callable[[Tensor, Tensor, Mapping[str, Tensor]], dict[str, Any]]
    guidance: float | None

    def __call__(
        self, network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
    ) -> Tensor:
        output = network(
            hidden_states=pack(z_t),
            timestep=time.to(z_t.dtype),
            guidance=guidance_input(self.guidance, time),
            **self.inputs(z_t, hidden, extra),
            return_dict=False,
        )[0]
        return unpack(output, *z_t.shape[-2:])


def padded(rows: Sequence[Tensor], tokens: int) -> tuple[Tensor, Tensor]:
    """Rows (n_i, width) as (B, tokens, width) with zeros behind, and which are text (B, tokens)."""
    hidden = torch.stack(
        [torch.cat([row[:tokens], row.new_zeros(max(0, tokens - len(row)), row.shape[1])])
         for row in rows]
    )  # fmt: skip
    lengths = torch.tensor([min(len(row), tokens) for row in rows], device=hidden.device)
    return hidden, torch.arange(tokens, device=hidden.device)[None] < lengths[:, None]


def with_null(
    positive: tuple[Tensor, Tensor], negative: tuple[Tensor, Tensor], captions: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """(hidden, mask) of captions, with the pipeline's null condition where a caption is empty."""
    empty = torch.tensor([text == "" for text in captions], device=positive[0].device)
    return (
        torch.where(empty[:, None, None], negative[0], positive[0]),
        torch.where(empty[:, None], negative[1].bool(), positive[1].bool()),
    )
