"""The U-Net and the autoencoder of a model of the Stable Diffusion family, loaded."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mia_bench.models.encoders import KlCodec
from mia_bench.models.readers.chosen_loras import Scales, lora_key, read_chosen
from mia_bench.models.readers.unet_pipeline import UnetPipeline
from mia_bench.models.weight_files import load
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.models.readers.parts import Parts


def load_unet(
    pipeline: UnetPipeline, loras: Scales, dtype: torch.dtype, weights: Path | None = None
) -> Any:
    """The base's U-Net with `loras`, or the one of `weights`: a whole network, or adapters on the
    base."""
    from diffusers import UNet2DConditionModel

    from mia_bench.models.lora.fusion import fuse
    from mia_bench.models.lora.training import has_lora, load_lora

    if weights is not None and not has_lora(weights):
        return load(UNet2DConditionModel, weights, torch_dtype=dtype)
    unet = pipeline.parts.load(UNet2DConditionModel, "unet", dtype)
    if loras:
        fuse(unet, "unet", read_chosen(loras, ("unet", *pipeline.encoders)))
    if weights is not None:
        load_lora(unet, weights)
    return unet


def check_loras(pipeline: UnetPipeline, loras: Scales) -> None:
    """Whether every adapter has its layer, by configurations alone: no weight is read. What was
    found right is remembered: a sweep plans many jobs on one model.

    Raises MiaError as `load_unet`, and as loading text encoders does.
    """
    _check_loras(pipeline, tuple(loras.items()), str(lora_key(loras)))


@cache
def _check_loras(pipeline: UnetPipeline, loras: tuple[tuple[str, float], ...], _: str) -> None:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    from mia_bench.models.lora.fusion import check_places

    parts, chosen = pipeline.parts, read_chosen(dict(loras), ("unet", *pipeline.encoders))
    for part in {part for adapters, _ in chosen for part in adapters.layers}:
        with torch.device("meta"):
            network: Any = (
                UNet2DConditionModel.from_config(parts.unet_config())
                if part == "unet"
                else CLIPTextModelWithProjection(CLIPTextConfig.from_dict(parts.config(part)))
            )
        check_places(network, part, [adapters for adapters, _ in chosen])


def guided(unet: Any, guidance: float | None) -> Any:
    """A latent consistency model asked at one guidance scale; any other U-Net as it is."""
    if unet.config.time_cond_proj_dim is not None:
        from mia_bench.models.readers.guidance import fix_guidance

        fix_guidance(unet, guidance)
    return unet


def masked(unet: Any, pipeline: UnetPipeline, codec: KlCodec, side: int) -> Any:
    """An in-painting U-Net asked with everything masked; any other as it is."""
    if unet.config.in_channels <= pipeline.channels():
        return unet
    from mia_bench.models.readers.inpainting import mask_everything

    mask_everything(unet, codec.encode(torch.zeros(1, 3, side, side)))
    return unet


def codec(pipeline: UnetPipeline, slicing: bool, tiling: bool) -> KlCodec:
    """Args: `slicing`: one image at a time; `tiling`: large images tile by tile."""
    return KlCodec(partial(_vae, pipeline.parts, slicing, tiling), pipeline.latent_scale())


def _vae(parts: Parts, slicing: bool, tiling: bool) -> Any:
    """In float32 whatever the dtype: SDXL's overflows in float16, and it is small."""
    from diffusers import AutoencoderKL

    return in_parts(parts.load(AutoencoderKL, "vae", torch.float32), slicing, tiling)


def in_parts(vae: Any, slicing: bool, tiling: bool) -> Any:
    """An autoencoder that needs less memory: one image at a time, large images tile by tile."""
    if slicing:
        vae.enable_slicing()
    if tiling:
        vae.enable_tiling()
    return vae


def floating_dtype(name: str) -> torch.dtype:
    """Raises MiaError for what is no floating-point type of torch."""
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise MiaError(f"model.dtype={name}: use float32, float16 or bfloat16")
    return dtype
