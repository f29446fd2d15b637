"""U-Net and autoencoder of a directory."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from mia_bench.models.readers.networks import (
    check_loras,
    codec,
    floating_dtype,
    load_unet,
    masked,
)
from mia_bench.models.readers.parts import Parts
from mia_bench.models.readers.unet_pipeline import UnetPipeline
from mia_bench.utils.errors import MiaError


def test_latents_are_the_scaled_mode_and_a_plain_unet_is_left_as_it_is(narrow):
    pipeline = UnetPipeline(Parts(narrow("sd1")), "here")
    latents = codec(pipeline, slicing=True, tiling=False)
    vae = AutoencoderKL.from_pretrained(narrow("sd1"), subfolder="vae")
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = vae.encode(image).latent_dist.mode() * vae.config.scaling_factor
    assert torch.allclose(latents.encode(image), expected, atol=1e-5)
    unet = load_unet(pipeline, {}, torch.float16)
    assert next(unet.parameters()).dtype is torch.float16
    assert masked(unet, pipeline, latents, 32) is unet


@pytest.mark.parametrize("name", ["float99", "int8", "nn"])
def test_an_unknown_dtype_is_refused(name):
    assert floating_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(MiaError, match=f"model.dtype={name}: use float32"):
        floating_dtype(name)


def test_a_lora_of_other_widths_is_refused_before_weights_are_read(narrow, tmp_path):
    """Of the U-Net and of a text encoder; one that fits is not."""
    for part in ("unet", "vae", "text_encoder"):
        (tmp_path / part).mkdir()
        shutil.copy(narrow("sd1") / part / "config.json", tmp_path / part)
    shutil.copy(narrow("sd1") / "model_index.json", tmp_path)
    pipeline = UnetPipeline(Parts(tmp_path), "here")
    places = {
        "unet": "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        "text_encoder": "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
    }
    for (part, layer), width in zip(places.items(), (8, 16), strict=True):
        for wide in (width, 2 * width):
            down, up = torch.ones(1, wide), torch.ones(wide, 1)
            file = tmp_path / f"{part}-{wide}.safetensors"
            save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, file)
        check_loras(pipeline, {str(tmp_path / f"{part}-{width}.safetensors"): 1.0})
        with pytest.raises(MiaError, match=f"is a LoRA of another {part}: 1 of its 1 layers"):
            check_loras(pipeline, {str(file): 1.0})
