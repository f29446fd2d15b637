"""Targets in diffusers' directories: Stable Diffusion 1.x, 2.x and XL, bundled, local or hub.

The families differ in their text stack alone; which one a directory holds is written in its
model_index.json. Epsilon or v prediction comes from its scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mia_bench.models import hub
from mia_bench.models.caption_tokens import whole_ids
from mia_bench.models.identity import network, tokenizer
from mia_bench.models.schedule import (
    alphas_cumprod,
    read_schedule,
    schedule_key,
    schedule_steps,
)
from mia_bench.models.weight_files import contents, load, read_config, weights
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mia_bench.models.lora_files import Adapters
    from mia_bench.target import LatentStore, Target, Text


FAMILIES = {  # model_index.json's _class_name -> text encoders
    "StableDiffusionPipeline": ("text_encoder",),
    "StableDiffusionXLPipeline": ("text_encoder", "text_encoder_2"),
}
DEFAULT_LATENT_SCALE = 0.18215  # where vae/config.json has none: Stable Diffusion 1's
SDXL_SCALE = 0.13025


@dataclass(frozen=True)
class StableDiffusion:
    """A diffusers directory of the Stable Diffusion family.

    Args:
        path: a folder, a hub id, or "bundled:<name>" for one that ships with the package.
        resolution: pixels per side that images are resized and cropped to; None takes what the
            model's own files say, see `sized`.
        chunk: rows per U-Net call while scoring, "auto": the fastest, measured once on the device
            (speed and memory only).
        finetune: False audits the model as it is.
        revision: commit, branch or tag of the hub repository (not of its copies), null for main,
            or "pinned" for the commit this package knows.
        variant: of the weight files, e.g. "fp16"; parts without it are read plain.
        dtype: of U-Net and text encoders while scoring; training holds float32 weights.
        lora: file, folder or hub id of adapters that are added to the weights: part of the base;
            or a list of them.
        lora_scale: what the adapters are multiplied by: one number, or one for each.
        attention_slicing: one attention head at a time, slower and smaller.
        vae_slicing: one image at a time through the autoencoder.
        vae_tiling: large images tile by tile, which changes latents a little.
        family: refuse directories of another one, e.g. "StableDiffusionPipeline".
    """

    path: str
    resolution: int | None
    chunk: int | Literal["auto"] = 64
    finetune: bool = True
    revision: str | None = "pinned"
    variant: str | None = None
    dtype: str = "float32"
    lora: str | tuple[str, ...] | None = None
    lora_scale: float | tuple[float, ...] = 1.0
    attention_slicing: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False
    family: str | None = None

    @property
    def folder(self) -> Path:
        return hub.locate(self.path, self.revision, self.variant)

    def fetch(self) -> None:
        """Download what is not here. Raises Missing when it cannot be had."""
        hub.fetch(self.path, self.revision, self.variant)
        for lora in self._loras():
            hub.fetch_lora(lora)

    def sized(self) -> StableDiffusion:
        """This model with its own resolution where none is given: the U-Net's sample size times
        what the autoencoder shrinks by.

        Raises:
            MiaError: the U-Net's configuration does not say one number.
        """
        if self.resolution is not None:
            return self
        side = read_config(self.folder / "unet" / "config.json").get("sample_size")
        if not isinstance(side, int) or side < 1:
            raise MiaError(
                f"the U-Net of {self.path} has sample_size={side}, which says no resolution: give "
                "it, as in model.resolution=512."
            )
        return replace(self, resolution=side * self._shrink())

    @property
    def side(self) -> int:
        """The resolution, given or the model's own."""
        resolution = self.sized().resolution
        assert resolution is not None
        return resolution

    def base_hash(self) -> str:
        """Content of the networks, the adapters on them, and whatever in the configurations, the
        tokenizers and the schedule is not as a key without it says."""
        parts = ("unet", "vae", *self._encoders())
        self._check_variant(parts)
        weights = contents(file for part in parts for file in self._weights(part))
        schedule, networks = schedule_key(self._schedule()), self._unusual()
        if not self._loras() and not schedule and not networks:
            return weights
        return hash_key(
            [weights, schedule, self._lora_hash(), *([networks] if networks else [])],
        )

    def encoder_hash(self) -> str:
        """Content of the autoencoder, and how images go through it."""
        weights = contents(self._weights("vae"))
        identity = {"vae": weights, "resolution": self.side, "dtype": self.dtype}
        if (scale := self._scale()) != DEFAULT_LATENT_SCALE:
            identity["scale"] = scale
        if (config := network(self.folder, "vae")) is not None:
            identity["config"] = config
        if self.vae_tiling:
            identity["tiling"] = True
            if (tile := self._tile()) is not None:
                identity["tile"] = tile
        return hash_key(identity)

    def timesteps(self) -> int:
        """Length of the training schedule."""
        return schedule_steps(self._schedule())

    def caption_tokens(self, captions: Sequence[str]) -> tuple[list[tuple[int, ...]], int]:
        """(token ids of each caption, whole, and how many the text encoder reads of them)."""
        part = self._encoders()[0]
        config = read_config(self.folder / part / "config.json")
        folder = self.folder / part.replace("text_encoder", "tokenizer")
        settings = read_config(folder / "tokenizer_config.json")
        most = [config.get("max_position_embeddings", 77), settings.get("model_max_length", 77)]
        return whole_ids(folder, captions), min(most)

    def unet_bytes(self) -> int:
        """Size of the U-Net's weights on disk."""
        return sum(file.stat().st_size for file in self._weights("unet"))

    def load_unet(self, weights: Path | None = None, train: bool = False) -> nn.Module:
        """The base's U-Net, or the one of `weights`: a whole network, or adapters on the base."""
        from diffusers import UNet2DConditionModel

        from mia_bench.models.lora import has_lora, load_lora
        from mia_bench.models.lora_fusion import fuse

        dtype = self._dtype("float32" if train else self.dtype)
        if weights is not None and not has_lora(weights):
            unet = load(UNet2DConditionModel, weights, torch_dtype=dtype)
        else:
            unet = self._part(UNet2DConditionModel, "unet", dtype)
            if self._loras():
                fuse(unet, "unet", self._adapters())
            if weights is not None:
                load_lora(unet, weights)
        if self.attention_slicing:
            unet.set_attention_slice("max")
        plain: nn.Module = unet.to(memory_format=_channels_last())
        return plain

    def build(self, unet: nn.Module, seed: int, store: LatentStore | None = None) -> Target:
        from mia_bench.models.encoders import KlCodec
        from mia_bench.target import Target

        schedule = self._schedule()
        vae = self._vae_config()
        channels = vae["latent_channels"]
        if unet.config.in_channels != channels:  # type: ignore[union-attr]
            raise MiaError(
                f"the U-Net of {self.path} takes {unet.config.in_channels} channels for latents "  # type: ignore[union-attr]
                f"of {channels}: in-painting and upscaling models are not text-to-image targets."
            )
        side, shrink = self.side, self._shrink()
        if side % shrink:
            raise MiaError(f"model.resolution={side} must be a multiple of {shrink}.")
        return Target(
            unet,
            KlCodec(self._vae, self._scale()),
            self._text(),
            (channels, side // shrink, side // shrink),
            alphas_cumprod(schedule),
            schedule["prediction_type"],
            seed,
            None if self.chunk == "auto" else self.chunk,
            store,
            self._dtype(self.dtype),
        ).eval()

    def _encoders(self) -> tuple[str, ...]:
        kind = str(read_config(self.folder / "model_index.json").get("_class_name"))
        if kind not in FAMILIES:
            raise MiaError(
                f"{self.path} is a {kind}: there are builders for {', '.join(FAMILIES)}."
            )
        if self.family not in (None, kind):
            raise MiaError(
                f"{self.path} is a {kind}, not a {self.family}: use model=sdxl for "
                "StableDiffusionXLPipeline, model=sd15 for StableDiffusionPipeline, or "
                "model=diffusers, whose resolution and recipe you give yourself."
            )
        return FAMILIES[kind]

    def _schedule(self) -> dict[str, Any]:
        config = read_config(self.folder / "scheduler" / "scheduler_config.json")
        return read_schedule(config, self.path)

    def _unusual(self) -> dict[str, Any]:
        """What decides answers and is not as in the first networks: by part."""
        encoders = self._encoders()
        read = {part: network(self.folder, part) for part in ("unet", *encoders)}
        for encoder in encoders:
            part = encoder.replace("text_encoder", "tokenizer")
            read[part] = tokenizer(self.folder, part, encoder)
        if len(encoders) == 2 and not self._zero_null():
            read["force_zeros_for_empty_prompt"] = {}
        return {part: config for part, config in read.items() if config is not None}

    def _check_variant(self, parts: tuple[str, ...]) -> None:
        """Parts without the variant are read plain, but one has it, or it is a slip."""
        mark = f".{self.variant}"
        if self.variant is None or any(mark in self._weights(part)[0].name for part in parts):
            return
        names = {file.name for part in parts for file in (self.folder / part).glob("*.safetensors")}
        others = {word for name in names for word in name.split(".")[1:-1] if "-of-" not in word}
        there = nearest(self.variant, others) if others else "There are plain weights alone."
        raise MiaError(
            f"model.variant={self.variant}: no part of {self.path} has weights of that name. "
            f"{there} Leave it out (model.variant=null) to read the plain ones."
        )

    def _weights(self, part: str) -> list[Path]:
        return weights(self.folder, part, self.variant)

    def _zero_null(self) -> bool:
        index = read_config(self.folder / "model_index.json")
        return bool(index.get("force_zeros_for_empty_prompt", True))

    def _vae_config(self) -> dict[str, Any]:
        config = read_config(self.folder / "vae" / "config.json")
        if config.get("latents_mean") is not None or config.get("shift_factor"):
            raise MiaError(f"the autoencoder of {self.path} shifts its latents, which is not read.")
        return config

    def _shrink(self) -> int:
        """Pixels per latent cell, along a side."""
        return int(2 ** (len(self._vae_config()["block_out_channels"]) - 1))

    def _scale(self) -> float:
        return float(self._vae_config().get("scaling_factor", DEFAULT_LATENT_SCALE))

    def _tile(self) -> int | None:
        """The sample size that tiles are cut from, where it is not that of the first models."""
        config = self._vae_config()
        usual = 1024 if self._scale() == SDXL_SCALE else 512
        size = config.get("sample_size", 32 if "down_block_types" in config else usual)
        return None if size == usual else size

    def _vae(self) -> Any:
        """In float32 whatever the dtype: SDXL's overflows in float16, and it is small."""
        from diffusers import AutoencoderKL

        vae = self._part(AutoencoderKL, "vae", self._dtype("float32"))
        if self.vae_slicing:
            vae.enable_slicing()
        if self.vae_tiling:
            vae.enable_tiling()
        return vae

    def _text(self) -> Text:
        from mia_bench.models.encoders import ClipText
        from mia_bench.models.sdxl import TwoClipTexts

        encoders = self._encoders()
        if len(encoders) == 1:
            return ClipText(partial(self._clip, encoders[0]))
        return TwoClipTexts(lambda: [self._clip(e) for e in encoders], self.side, self._zero_null())

    def _clip(self, part: str) -> tuple[Any, Any]:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

        from mia_bench.models.lora_fusion import fuse

        kind = CLIPTextModelWithProjection if part == "text_encoder_2" else CLIPTextModel
        encoder = self._part(kind, part, self._dtype(self.dtype))
        if self._loras():
            fuse(encoder, part, self._adapters())
        tokenizer = part.replace("text_encoder", "tokenizer")
        return encoder, load(CLIPTokenizer, self.folder / tokenizer)

    def _part(self, kind: Any, part: str, dtype: torch.dtype) -> Any:
        files = self._weights(part)
        variant = self.variant if f".{self.variant}" in files[0].name else None
        return load(
            kind, self.folder / part, variant=variant, torch_dtype=dtype, use_safetensors=True
        )

    def _loras(self) -> dict[str, float]:
        """Every LoRA with its scale. Raises MiaError when there is not one scale for each."""
        loras = (self.lora,) if isinstance(self.lora, str) else self.lora or ()
        scale = self.lora_scale
        scales = scale if isinstance(scale, tuple) else (scale,) * max(len(loras), 1)
        if len(scales) != len(loras) and (loras or scales != (1.0,)):
            raise MiaError(
                f"model.lora names {len(loras)} LoRAs and model.lora_scale {len(scales)} scales: "
                "give one scale for each, as in model.lora=[a.safetensors,b.safetensors] "
                "model.lora_scale=[1,0.7]."
            )
        if len(set(loras)) < len(loras):
            raise MiaError(f"model.lora names {max(loras, key=loras.count)} twice: give it once.")
        return dict(zip(loras, scales, strict=False))

    def _adapters(self) -> list[tuple[Adapters, float]]:
        from mia_bench.models.lora import read_loras

        loras = self._loras()
        paths = [hub.locate_lora(lora) for lora in loras]
        return read_loras(paths, [*loras.values()], ("unet", *self._encoders()))

    def _lora_hash(self) -> str | list[list[Any]] | None:
        """Content of one LoRA that is added as it is; of others with their scales."""
        from mia_bench.models.lora_files import lora_files

        keys = [
            [contents(f for files in lora_files(hub.locate_lora(lora)).values() for f in files), s]
            for lora, s in self._loras().items()
        ]
        if not keys:
            return None
        return str(keys[0][0]) if [scale for _, scale in keys] == [1.0] else keys

    def _dtype(self, name: str) -> torch.dtype:
        import torch

        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise MiaError(f"model.dtype={name}: use float32, float16 or bfloat16")
        return dtype


def _channels_last() -> torch.memory_format:
    import torch

    return torch.channels_last
