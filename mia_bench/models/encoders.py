"""Adapters from diffusers' and transformers' modules to the two seams of Target.

A part is loaded when it is first used: no decoder unless something decodes, no autoencoder when
every latent is cached, no text encoder when every caption is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.utils.precision import exactly

CAPTIONS_PER_CALL = 32  # captions per call of a text encoder


class Anchored(nn.Module):
    """Knows the device it was moved to while it has no parameters yet."""

    anchor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def place(self, module: Any) -> Any:
        """A part just loaded, frozen, where this module is."""
        return module.eval().requires_grad_(False).to(self.anchor.device)


class KlCodec(Anchored):
    """AutoencoderKL as a codec: the posterior mean, scaled as the U-Net was trained to see it.

    Args:
        load: reads the autoencoder; called once for each half that is used.
        scale: its `scaling_factor`.
    """

    def __init__(self, load: Callable[[], Any], scale: float) -> None:
        super().__init__()
        self.load, self.scale = load, scale
        self.encoder: Any = None
        self.decoder: Any = None

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        if self.encoder is None:
            self.encoder = self._half("decoder", "post_quant_conv")
        with exactly(image.device):
            z: Tensor = self.encoder.encode(image.to(self.encoder.dtype)).latent_dist.mode()
        return z.float() * self.scale

    @torch.no_grad()
    def decode(self, z0: Tensor) -> Tensor:
        return self.decode_with_gradients(z0)

    def decode_with_gradients(self, z0: Tensor) -> Tensor:
        if self.decoder is None:
            self.decoder = self._half("encoder", "quant_conv")
        with exactly(z0.device):
            image: Tensor = self.decoder.decode((z0 / self.scale).to(self.decoder.dtype)).sample
        return image.float()

    def _half(self, *unused: str) -> Any:
        vae = self.load()
        for name in unused:
            setattr(vae, name, None)
        return self.place(vae)


class ClipText(Anchored):
    """Last hidden states of a CLIP text encoder; captions padded and truncated to its length.

    Args:
        load: reads (text encoder, tokenizer); called when the first caption is embedded.
    """

    def __init__(self, load: Callable[[], tuple[Any, Any]]) -> None:
        super().__init__()
        self.load = load
        self.encoder: Any = None
        self.tokenizer: Any = None

    @property
    def pad_token(self) -> str:
        return str(self.tokenizer.pad_token)

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.encoder is None:
            encoder, self.tokenizer = self.load()
            self.encoder = self.place(encoder)
        hidden = [
            self.encoder(
                token_ids(self.tokenizer, self.encoder, captions[i : i + CAPTIONS_PER_CALL])
            )[0]
            for i in range(0, len(captions), CAPTIONS_PER_CALL)
        ]
        return torch.cat(hidden).float(), {}


def token_ids(tokenizer: Any, encoder: Any, captions: Sequence[str]) -> Tensor:
    """(B, length) on the encoder's device; length is what the encoder has positions for."""
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    ids: Tensor = tokenizer(
        list(captions),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids.to(encoder.device)
