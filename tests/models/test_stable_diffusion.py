"""The builder of Stable Diffusion directories, on the bundled model and on broken copies of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from mia_bench.models.lora.training import add_lora, save_lora
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError

TINY = StableDiffusion("bundled:tiny", 64)


@pytest.fixture
def copy(tmp_path) -> StableDiffusion:
    shutil.copytree(TINY.folder, tmp_path / "tiny")
    return replace(TINY, path=str(tmp_path / "tiny"))


@pytest.mark.long
def test_the_bundle_is_small_and_loads_as_a_diffusers_pipeline():
    files = [p for p in TINY.folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 20 * 2**20
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".txt"}
    pipe = StableDiffusionPipeline.from_pretrained(TINY.folder).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("red apple, fruit", num_inference_steps=2, height=64, width=64).images[0]
    assert image.size == (64, 64)


def test_target_of_the_bundle_agrees_with_diffusers_parts():
    target = TINY.build(TINY.load_unet(), seed=0)
    pipe = StableDiffusionPipeline.from_pretrained(TINY.folder).to(torch.float32)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    captions = ["red apple, fruit", ""]
    with torch.no_grad():
        z0 = pipe.vae.encode(image).latent_dist.mode() * pipe.vae.config.scaling_factor
        ids = pipe.tokenizer(captions, padding="max_length", return_tensors="pt").input_ids
        hidden = pipe.text_encoder(ids)[0]
        eps = pipe.unet(z0, torch.tensor([300, 300]), hidden).sample
        cond = target.embed(captions)
        found = target.predict_noise(target.encode(image), 300, cond)
    assert torch.allclose(target.encode(image), z0, atol=1e-5)
    assert torch.allclose(cond.hidden, hidden, atol=1e-5)
    assert torch.allclose(found, eps, atol=1e-4)
    assert target.latent_shape == tuple(z0.shape[1:])
    assert TINY.latent_side() == z0.shape[-1]


def test_base_hash_is_of_the_content(copy):
    assert copy.base_hash() == TINY.base_hash()
    path = copy.folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert copy.base_hash() != TINY.base_hash()
    assert copy.encoder_hash() == TINY.encoder_hash()


def test_encoder_hash_knows_the_resolution():
    assert replace(TINY, resolution=32).encoder_hash() != TINY.encoder_hash()


def test_encoder_hash_knows_the_scale_of_latents(copy):
    path = copy.folder / "vae" / "config.json"
    path.write_text(path.read_text().replace('"scaling_factor": 0.39', '"scaling_factor": 0.38'))
    assert copy.encoder_hash() != TINY.encoder_hash()
    assert copy.base_hash() == TINY.base_hash()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_missing_weights_are_named_with_a_way_out(copy, part):
    for path in (copy.folder / part).glob("*.safetensors"):
        path.unlink()
    with pytest.raises(MiaError, match=rf"{part}.*use model=tiny"):
        copy.base_hash()


def test_a_truncated_file_is_one_clear_error(copy):
    path = copy.folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(MiaError, match="truncated"):
        copy.load_unet()


def test_pickles_are_refused(copy):
    path = copy.folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(MiaError, match=r"only pickles \(diffusion_pytorch_model\.bin\)"):
        copy.load_unet()


def test_a_broken_config_is_one_clear_error(copy):
    (copy.folder / "unet" / "config.json").write_text("{not json")
    with pytest.raises(MiaError, match="cannot load"):
        copy.load_unet()


def test_a_step_folder_may_hold_adapters_instead_of_a_network(tmp_path):
    tuned = TINY.load_unet()
    add_lora(tuned, 2)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    save_lora(tuned, tmp_path)
    z, hidden = torch.randn(1, 4, 16, 16), torch.randn(1, 77, tuned.config.cross_attention_dim)
    with torch.no_grad():
        expected = tuned(z, 300, hidden).sample
        found = TINY.load_unet(tmp_path)(z, 300, hidden).sample
        base = TINY.load_unet()(z, 300, hidden).sample
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(base, expected, atol=1e-2)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(MiaError, match="float32"):
        replace(TINY, dtype="float99").load_unet()


def test_the_schedule_is_the_models_own():
    target = TINY.build(TINY.load_unet(), seed=0)
    config = json.loads((TINY.folder / "scheduler" / "scheduler_config.json").read_text())
    assert target.timesteps == config["num_train_timesteps"]
    betas = torch.linspace(config["beta_start"] ** 0.5, config["beta_end"] ** 0.5, 1000) ** 2
    assert torch.allclose(target.a[:-1] ** 2, torch.cumprod(1 - betas, 0), atol=1e-5)
    assert Path(TINY.folder).is_dir()


def test_the_schedules_length_is_read_without_weights(copy):
    assert TINY.timesteps() == 1000
    for part in ("unet", "vae", "text_encoder"):
        shutil.rmtree(copy.folder / part)
    config = copy.folder / "scheduler" / "scheduler_config.json"
    written = json.loads(config.read_text())
    config.write_text(json.dumps({**written, "num_train_timesteps": 500}))
    assert copy.timesteps() == 500
    config.unlink()
    with pytest.raises(MiaError, match=r"cannot load .*scheduler_config\.json.*model=tiny"):
        copy.timesteps()
