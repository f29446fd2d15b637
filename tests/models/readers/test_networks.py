"""U-Net and autoencoder of a directory."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from mia_bench.models.readers.networks import codec, floating_dtype, load_unet, masked
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
