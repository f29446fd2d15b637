"""DDPMs in diffusers' directories, in both forms they are published in."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mia_bench.models.ddpm.builder import DDPM
from mia_bench.models.ddpm.folder import is_checkpoint, locate
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError, Missing

SIZES = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
    "norm_eps": 1e-6,
    "freq_shift": 1,
    "attention_head_dim": None,
}


@pytest.fixture(scope="module")
def nets():
    from diffusers import DDPMScheduler, UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DModel(**SIZES).eval(), DDPMScheduler(num_train_timesteps=50)


@pytest.fixture(params=["flat", "parts"])
def folder(request, nets, tmp_path):
    net, scheduler = nets
    parts = request.param == "parts"
    net.save_pretrained(tmp_path / "unet" if parts else tmp_path)
    scheduler.save_pretrained(tmp_path / "scheduler" if parts else tmp_path)
    return tmp_path


@torch.no_grad()
def test_predictions_are_those_of_diffusers(folder, nets):
    model = DDPM(str(folder), 8)
    target = model.build(model.load_unet(), seed=0)
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    expected = nets[0](x, torch.tensor([17, 17])).sample
    torch.testing.assert_close(target.predict_noise(x, 17, target.embed(["", "a"])), expected)
    torch.testing.assert_close(target.a[:50].square(), nets[1].alphas_cumprod)
    assert model.timesteps() == 50
    assert not model.untrained
    assert model.unet_bytes() > 4 * sum(p.numel() for p in nets[0].parameters())


def _file(folder, name):
    return next(path for path in (folder / "unet" / name, folder / name) if path.is_file())


def test_the_key_follows_what_decides_answers(folder):
    def key() -> str:
        return DDPM(str(folder), 8).base_hash()

    before = key()
    config = _file(folder, "config.json")
    written = json.loads(config.read_text())
    config.write_text(json.dumps({**written, "_diffusers_version": "9"}))
    assert key() == before
    config.write_text(json.dumps({**written, "norm_eps": 1e-3}))
    assert key() != before


def test_partial_weights_are_refused_with_their_names(folder):
    path = _file(folder, "diffusion_pytorch_model.safetensors")
    weights = load_file(path)
    save_file({k: v for k, v in weights.items() if k != "conv_in.bias"}, path)
    with pytest.raises(MiaError, match=r"lacks 1 tensors: conv_in\.bias"):
        DDPM(str(folder), 8).load_unet()
    save_file({**weights, "extra": torch.ones(1)}, path)
    with pytest.raises(MiaError, match="no place for 1 tensors: extra"):
        DDPM(str(folder), 8).load_unet()


def test_other_networks_are_refused(folder):
    config = _file(folder, "config.json")
    written = json.loads(config.read_text())
    config.write_text(json.dumps({**written, "out_channels": 6}))
    with pytest.raises(MiaError, match="maps 3 channels to 6"):
        DDPM(str(folder), 8).base_hash()
    config.write_text(json.dumps({**written, "_class_name": "UNet2DConditionModel"}))
    with pytest.raises(MiaError, match="is a UNet2DConditionModel, not a UNet2DModel"):
        DDPM(str(folder), 8).base_hash()
    config.write_text(json.dumps(written))
    with pytest.raises(MiaError, match=r"resolution=9 does not fit the 2 levels"):
        DDPM(str(folder), 9).base_hash()


def test_what_cannot_be_read_is_told_in_the_plan(folder, saved_dit, tmp_path_factory):
    DDPM(str(folder), 8).check()
    weights = _file(folder, "diffusion_pytorch_model.safetensors")
    kept = load_file(weights)
    save_file({k: v.to(torch.float8_e4m3fn) for k, v in kept.items()}, weights, {"format": "pt"})
    with pytest.raises(MiaError, match="weights in F8_E4M3"):
        DDPM(str(folder), 8).check()
    with pytest.raises(MiaError, match=r"is a file that model=ddpm does not read"):
        DDPM(str(weights), 8).check()
    with pytest.raises(MiaError, match=r"is a StableDiffusion3Pipeline: use model=sd3"):
        DDPM(str(saved_dit("sd3")), 8).check()
    other = tmp_path_factory.mktemp("ddpm")
    (other / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline"}))
    with pytest.raises(MiaError, match=r"is a DDPMPipeline: use model=ddpm"):
        StableDiffusion(str(other), 64).check()


def test_what_is_not_here_says_how_to_get_it(tmp_path):
    assert is_checkpoint("a/ckpt.PT")
    with pytest.raises(Missing, match=r"model\.path=null to train from scratch"):
        locate(str(tmp_path / "none.pt"))
    with pytest.raises(Missing, match="hf download nobody/nothing-here"):
        locate("nobody/nothing-here")
