"""Latent consistency models are asked as diffusers' own pipeline asks them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline, LCMScheduler, UNet2DConditionModel

from mia_bench.models.readers.guidance import guidance_embedding
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError


@pytest.fixture(scope="module")
def folder(pipelines, tmp_path_factory):
    """A random latent consistency model: its U-Net takes an embedding of the guidance scale."""
    path = tmp_path_factory.mktemp("lcm") / "m"
    unet = pipelines.save_with_unet(path, "LatentConsistencyModelPipeline", time_cond_proj_dim=8)
    torch.nn.init.normal_(unet.time_embedding.cond_proj.weight)  # zeros, as diffusers begins with
    unet.save_pretrained(path / "unet")
    LCMScheduler.from_pretrained(path / "scheduler").save_pretrained(path / "scheduler")
    index = json.loads((path / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "LCMScheduler"]
    (path / "model_index.json").write_text(json.dumps(index))
    return path


@pytest.mark.first_look
@pytest.mark.parametrize(("guidance", "scale"), [(None, 8.5), (3.0, 3.0)])
def test_the_answer_is_that_of_the_pipelines_unet(folder, guidance, scale):
    model = StableDiffusion(str(folder), 64, guidance=guidance)
    model.check()
    target = model.build(model.load_unet(), seed=0)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    told = LatentConsistencyModelPipeline.get_guidance_scale_embedding(
        None, torch.tensor([scale - 1.0] * 3), embedding_dim=8
    )
    with torch.no_grad():
        z_t, cond = torch.randn(3, 4, 8, 8), target.embed(["a", "b", ""])
        expected = unet(z_t, 300, cond.hidden, timestep_cond=told).sample
        found = target.predict_noise(z_t, 300, cond)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        other = unet(z_t, 300, cond.hidden).sample
    assert (expected - other).abs().max() > 1e-2


def test_the_whole_pipeline_is_read(folder):
    pipe = LatentConsistencyModelPipeline.from_pretrained(folder, safety_checker=None)
    model = StableDiffusion(str(folder), 64)
    target = model.build(model.load_unet(), seed=0)
    torch.testing.assert_close(target.a[:1000] ** 2, pipe.scheduler.alphas_cumprod)
    assert model.sized().resolution == 64


def test_an_odd_width_ends_with_a_zero():
    assert guidance_embedding(2.0, 7).shape == (1, 7)
    assert guidance_embedding(2.0, 7)[0, -1] == 0


def test_each_guidance_is_a_model_of_its_own(folder):
    model = StableDiffusion(str(folder), 64)
    assert replace(model, guidance=8.5).base_hash() == model.base_hash()
    assert replace(model, guidance=3.0).base_hash() != model.base_hash()


def test_the_base_of_a_fine_tune_takes_guidance_where_it_can(folder, narrow):
    model = StableDiffusion(str(folder), 64, finetune=False, guidance=3.0, base=str(folder))
    assert model.base_model().guidance == 3.0
    model = replace(model, base=str(narrow("sd1")))
    model.base_model().check()
    assert model.base_model().guidance is None


def test_other_networks_take_no_guidance(narrow):
    with pytest.raises(MiaError, match=r"model.guidance=3.0 is for latent consistency models"):
        StableDiffusion(str(narrow("sd1")), 64, guidance=3.0).check()
