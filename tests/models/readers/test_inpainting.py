"""In-painting U-Nets are asked with everything masked, as diffusers' own pipeline would be."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from mia_bench.models.readers.inpainting import WholeMask
from mia_bench.models.stable_diffusion import StableDiffusion


@pytest.fixture(scope="module")
def folder(pipelines, tmp_path_factory):
    """A random in-painting pipeline: its U-Net takes latents, a mask and masked latents."""
    path = tmp_path_factory.mktemp("inpainting") / "m"
    unet = pipelines.save_with_unet(path, "StableDiffusionInpaintPipeline", in_channels=9)
    unet.save_pretrained(path / "unet")
    return path


def test_the_unet_sees_a_mask_of_ones_and_a_blank_image(folder):
    model = StableDiffusion(str(folder), 64)
    model.check()
    target = model.build(model.load_unet(), seed=0)
    assert target.latent_shape == (4, 8, 8)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    with torch.no_grad():
        z_t, cond = torch.randn(3, 4, 8, 8), target.embed(["a", "b", ""])
        image = torch.rand(1, 3, 64, 64) * 2 - 1
        mask = torch.ones(1, 1, 64, 64)
        masked = vae.encode(image * (mask < 0.5)).latent_dist.mode() * vae.config.scaling_factor
        planes = torch.cat([torch.ones(1, 1, 8, 8), masked], dim=1).expand(3, -1, -1, -1)
        expected = unet(torch.cat([z_t, planes], 1), 300, cond.hidden).sample
        found = target.predict_noise(z_t, 300, cond)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.long
def test_weights_and_names_stay_and_copies_are_masked_too(folder, tmp_path):
    model = StableDiffusion(str(folder), 64)
    unet = model.load_unet()
    plain = UNet2DConditionModel.from_pretrained(folder / "unet")
    assert unet.state_dict().keys() == plain.state_dict().keys()
    twin = copy.deepcopy(unet)
    z_t, hidden = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 16)
    with torch.no_grad():
        expected = unet(z_t, 5, hidden).sample
        torch.testing.assert_close(twin(z_t, 5, hidden).sample, expected)
    unet.save_pretrained(tmp_path / "saved")
    again = model.load_unet(tmp_path / "saved")
    with torch.no_grad():
        torch.testing.assert_close(again(z_t, 5, hidden).sample, expected)
    loss = unet(z_t, 5, hidden).sample.square().mean()
    loss.backward()
    assert unet.conv_in.weight.grad.abs().sum() > 0


def test_the_planes_follow_precision_and_number_of_rows():
    (joined,) = WholeMask(torch.zeros(1, 4, 2, 2))(None, (torch.zeros(5, 4, 2, 2).half(),))
    assert joined.shape == (5, 9, 2, 2)
    assert joined.dtype is torch.half
    assert joined[:, 4].eq(1).all()
    assert joined[:, 5:].eq(0).all()
