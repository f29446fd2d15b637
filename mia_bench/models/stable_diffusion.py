"""Targets in Stable Diffusion's layout: U-Net, KL autoencoder, one CLIP text encoder.

The bundled tiny model and any Stable Diffusion 1.x or 2.x directory load through the same lines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.errors import MiaError
from mia_bench.store import hash_files, hash_key

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mia_bench.target import LatentStore, Target

BUNDLED = Path(__file__).parent.parent / "assets"
PARTS = ("unet", "vae", "text_encoder")


@dataclass(frozen=True)
class StableDiffusion:
    """A diffusers Stable Diffusion directory.

    Args:
        path: a directory, or "bundled:<name>" for one that ships with the package.
        resolution: pixels per side that images are resized and cropped to.
        chunk: rows per U-Net call while scoring (speed only).
        finetune: False audits the model as it is.
    """

    path: str
    resolution: int
    chunk: int = 64
    finetune: bool = True
    variant: str | None = None
    dtype: str = "float32"

    @property
    def folder(self) -> Path:
        prefix, _, name = self.path.partition(":")
        return BUNDLED / name if prefix == "bundled" else Path(self.path).expanduser()

    def base_hash(self) -> str:
        return hash_files([self._weights(part) for part in PARTS])

    def encoder_hash(self) -> str:
        weights = hash_files([self._weights("vae")])
        return hash_key({"vae": weights, "resolution": self.resolution, "dtype": self.dtype})

    def timesteps(self) -> int:
        path = self.folder / "scheduler" / "scheduler_config.json"
        try:
            written = json.loads(path.read_text()).get("num_train_timesteps", 1000)
        except (OSError, ValueError) as error:
            raise MiaError(
                f"{path} cannot be read: {error}. Point model.path at a complete diffusers "
                "directory, or use model=tiny, which is part of the package."
            ) from error
        return int(written)

    def load_unet(self, weights: Path | None = None) -> nn.Module:
        import torch
        from diffusers import UNet2DConditionModel

        if weights is None:
            unet: nn.Module = self._part(UNet2DConditionModel, "unet")
        else:
            unet = _load(UNet2DConditionModel, weights, torch_dtype=self._dtype())
        return unet.to(memory_format=torch.channels_last)

    def build(self, unet: nn.Module, seed: int, store: LatentStore | None = None) -> Target:
        from diffusers import AutoencoderKL, DDPMScheduler
        from transformers import CLIPTextModel, CLIPTokenizer

        from mia_bench.models.parts import ClipText, KlCodec
        from mia_bench.target import Target

        scheduler = _load(DDPMScheduler, self.folder / "scheduler")
        vae = self._part(AutoencoderKL, "vae")
        size = self.resolution // 2 ** (len(vae.config.block_out_channels) - 1)
        return Target(
            unet,
            KlCodec(vae),
            ClipText(
                self._part(CLIPTextModel, "text_encoder"),
                _load(CLIPTokenizer, self.folder / "tokenizer"),
            ),
            (vae.config.latent_channels, size, size),
            scheduler.alphas_cumprod,
            scheduler.config.prediction_type,
            seed,
            self.chunk,
            store,
        ).eval()

    def _part(self, kind: Any, part: str) -> Any:
        self._weights(part)
        return _load(
            kind,
            self.folder / part,
            variant=self.variant,
            torch_dtype=self._dtype(),
            use_safetensors=True,
        )

    def _dtype(self) -> torch.dtype:
        import torch

        found = getattr(torch, self.dtype, None)
        if not isinstance(found, torch.dtype):
            raise MiaError(f"model.dtype={self.dtype}: use float32, float16 or bfloat16")
        return found

    def _weights(self, part: str) -> Path:
        """The safetensors file of a part; pickles are refused because loading one runs its code."""
        suffix = f".{self.variant}" if self.variant else ""
        for stem in ("diffusion_pytorch_model", "model"):
            path = self.folder / part / f"{stem}{suffix}.safetensors"
            if path.is_file():
                return path
        pickles = sorted(p.name for p in (self.folder / part).glob("*.bin"))
        found = f"; found only {', '.join(pickles)}, which is not loaded" if pickles else ""
        raise MiaError(
            f"no safetensors weights in {self.folder / part}{found}. Point model.path at a "
            "complete diffusers directory, or use model=tiny, which is part of the package."
        )


def _load(kind: Any, folder: Path, **options: Any) -> Any:
    """`from_pretrained` on a local folder, with one clear error for files that cannot be read."""
    from safetensors import SafetensorError

    try:
        loaded = kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        raise MiaError(
            f"cannot load {folder}: {str(error).splitlines()[0]} The file may be truncated or from "
            "another model; fetch it again, or use model=tiny."
        ) from error
    return loaded
