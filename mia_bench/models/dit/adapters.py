"""Adapters from a family's autoencoder and text stack to the two seams of Target.

Captions go through the family's own pipeline, which diffusers keeps: it is put together without
transformer and autoencoder when the first caption is embedded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.models.dit.family import Embed, LatentUnits, joined, parted
from mia_bench.models.encoders import CAPTIONS_PER_CALL, Anchored
from mia_bench.utils.precision import exactly

ONE_FRAME = "AutoencoderKLQwenImage"  # of videos: (B, C, frames, H, W)


class UnitCodec(Anchored):
    """An autoencoder of diffusers as a codec: z0 = (mode - shift) * scale, (B, C, h, w).

    Args:
        load: reads the autoencoder, when an image or latents first go through it.
        units: its shift and scale.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, load: Callable[[], Any], units: LatentUnits) -> None:
        super().__init__()
        self.load = load
        self.vae: Any = None
        self.norm_eps = units.norm_eps
        self.register_buffer("shift", _per_channel(units.shift), persistent=False)
        self.register_buffer("scale", _per_channel(units.scale), persistent=False)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        vae = self._loaded()
        frames = type(vae).__name__ == ONE_FRAME
        pixels = image.to(vae.dtype)
        with exactly(image.device):
            encoded = vae.encode(pixels.unsqueeze(2) if frames else pixels)
        # an autoencoder without a distribution (AutoencoderDC) answers with latents
        z = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latent
        z = z.squeeze(2) if frames else z
        z = z if self.norm_eps is None else joined(z)
        z0: Tensor = (z.float() - self.shift) * self.scale
        return z0

    @torch.no_grad()
    def decode(self, z0: Tensor) -> Tensor:
        return self.decode_with_gradients(z0)

    def decode_with_gradients(self, z0: Tensor) -> Tensor:
        vae = self._loaded()
        frames = type(vae).__name__ == ONE_FRAME
        z = (z0 / self.scale + self.shift).to(vae.dtype)
        z = z if self.norm_eps is None else parted(z)
        with exactly(z0.device):
            image: Tensor = vae.decode(z.unsqueeze(2) if frames else z).sample
        return (image.squeeze(2) if frames else image).float()

    def _loaded(self) -> Any:
        if self.vae is None:
            self.vae = self.place(self.load())
            if self.norm_eps is not None:
                variance = self.vae.bn.running_var.float() + self.norm_eps
                self.shift = self.vae.bn.running_mean.float().view(1, -1, 1, 1)
                self.scale = variance.rsqrt().view(1, -1, 1, 1)
        return self.vae


class PipelineText(Anchored):
    """The text stack of Target.

    Args:
        load: reads the pipeline with its text encoders and tokenizers alone.
        embed: of the family.
        tokens: of a caption; what is longer is cut.
        offload: keep the encoders on the CPU between calls, for one GPU that holds a transformer.
    """

    def __init__(
        self, load: Callable[[], Any], embed: Embed, tokens: int, offload: bool = False
    ) -> None:
        super().__init__()
        self.load, self.embed_captions, self.tokens, self.offload = load, embed, tokens, offload
        self.pipe: Any = None
        self.encoders = nn.ModuleList()
        self._offloaded: list[nn.Module] = []

    @property
    def pad_token(self) -> str:
        return str(self._loaded().tokenizer.pad_token)

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """(hidden (B, tokens, width), extra) in float32, masks as booleans."""
        self._loaded()
        device = self.anchor.device
        for encoder in self._offloaded:
            encoder.to(device)
        parts = [
            self._embed(list(captions[i : i + CAPTIONS_PER_CALL]), device)
            for i in range(0, len(captions), CAPTIONS_PER_CALL)
        ]
        for encoder in self._offloaded:
            encoder.to("cpu")
        extra = {name: torch.cat([part[1][name] for part in parts]) for name in parts[0][1]}
        return torch.cat([hidden for hidden, _ in parts]), extra

    def _loaded(self) -> Any:
        if self.pipe is None:
            self.pipe = self.load()
            modules = [m for m in self.pipe.components.values() if isinstance(m, nn.Module)]
            encoders = [module.eval().requires_grad_(False) for module in modules]
            # offloaded encoders are in no module list: they do not move with the target
            self._offloaded = encoders if self.offload else []
            self.encoders = nn.ModuleList([] if self.offload else map(self.place, encoders))
        return self.pipe

    def _embed(self, captions: list[str], device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        hidden, extra = self.embed_captions(self.pipe, captions, device, self.tokens)
        floats = {k: v.float() if v.is_floating_point() else v for k, v in extra.items()}
        return hidden.float(), floats


def _per_channel(value: float | Sequence[float]) -> Tensor:
    """(1, C, 1, 1), or one number."""
    numbers = torch.tensor(value, dtype=torch.float32)
    return numbers.view(1, -1, 1, 1) if numbers.ndim else numbers
