"""Adapters from diffusers' and transformers' modules to the two seams of Target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class KlCodec(nn.Module):
    """AutoencoderKL as a codec: the posterior mean, scaled as the U-Net was trained to see it."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae.eval().requires_grad_(False)
        self.scale = float(vae.config.scaling_factor)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        z: Tensor = self.vae.encode(image.to(self.vae.dtype)).latent_dist.mode()
        return z.float() * self.scale

    @torch.no_grad()
    def decode(self, z0: Tensor) -> Tensor:
        image: Tensor = self.vae.decode((z0 / self.scale).to(self.vae.dtype)).sample
        return image.float()


class ClipText(nn.Module):
    """Last hidden states of a CLIP text encoder; captions padded and truncated to its length."""

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.tokenizer = tokenizer

    @property
    def pad_token(self) -> str:
        return str(self.tokenizer.pad_token)

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        ids = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        hidden: Tensor = self.encoder(ids.to(self.encoder.device))[0]
        return hidden.float(), {}
