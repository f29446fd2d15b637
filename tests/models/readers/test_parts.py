"""U-Nets of training in place of a model's own; what is loaded is exact or refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

from mia_bench.models.hub import BUNDLED
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.models.weight_files import conversion
from mia_bench.utils.errors import MiaError

TINY = StableDiffusion("bundled:tiny", 64)
UNET_FILE = "diffusion_pytorch_model.safetensors"


def other_unet(scale: float = 1.1) -> UNet2DConditionModel:
    unet = UNet2DConditionModel.from_pretrained(BUNDLED / "tiny" / "unet")
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.mul_(scale)
    return unet


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """checkpoint-500 as diffusers' training script leaves it: unet/, unet_ema/, and states."""
    folder = tmp_path_factory.mktemp("training") / "checkpoint-500"
    other_unet().save_pretrained(folder / "unet")
    averaged = EMAModel(
        other_unet(0.9).parameters(),
        model_cls=UNet2DConditionModel,
        model_config=UNet2DConditionModel.from_pretrained(folder / "unet").config,
    )
    averaged.save_pretrained(folder / "unet_ema")
    (folder / "optimizer.bin").write_bytes(b"\x80pickle")
    return folder


@pytest.mark.first_look
@pytest.mark.parametrize("named", ["", "unet", "unet_ema"])
def test_a_unet_of_training_stands_in_for_the_models_own(named, checkpoint, tmp_path):
    model = replace(TINY, unet=str(checkpoint / named))
    model.check()
    expected = other_unet(0.9 if named == "unet_ema" else 1.1).state_dict()
    found = model.load_unet().state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert model.base_hash() != TINY.base_hash()
    assert model.encoder_hash() == TINY.encoder_hash()
    assert model.sized().side == 64
    # a folder put together by hand is the same model
    shutil.copytree(BUNDLED / "tiny", tmp_path / "whole")
    shutil.copy(checkpoint / (named or "unet") / UNET_FILE, tmp_path / "whole" / "unet")
    whole = replace(TINY, path=str(tmp_path / "whole"))
    if named != "unet_ema":  # whose configuration has options of its own
        assert whole.base_hash() == model.base_hash()


def test_the_folder_of_a_unet_alone_is_no_model(checkpoint, tmp_path):
    for folder in (checkpoint, checkpoint / "unet"):
        with pytest.raises(MiaError, match=r"no whole model .* add model\.unet="):
            replace(TINY, path=str(folder)).check()
    with pytest.raises(MiaError, match=r"is no folder of a U-Net .* no folder with a config"):
        replace(TINY, unet=str(tmp_path)).check()
    with pytest.raises(MiaError, match="holds a AutoencoderKL"):
        replace(TINY, unet=str(BUNDLED / "tiny" / "vae")).check()


@pytest.mark.first_look
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_tensors_that_are_missing_or_without_a_place_are_refused(part, tmp_path):
    """diffusers makes up what is missing, and leaves out what it does not know."""
    shutil.copytree(BUNDLED / "tiny", tmp_path / "m")
    model = replace(TINY, path=str(tmp_path / "m"))
    (path,) = (tmp_path / "m" / part).glob("*.safetensors")
    tensors = load_file(path)
    lost = sorted(tensors)[len(tensors) // 2]

    def use():
        target = model.build(model.load_unet(), seed=0)
        target.encode(torch.zeros(1, 3, 64, 64))
        target.embed(["a"])

    save_file({k: v for k, v in tensors.items() if k != lost}, path, {"format": "pt"})
    with pytest.raises(MiaError, match=rf"1 tensors are missing, such as .*{lost.split('.')[-1]}"):
        use()
    save_file({**tensors, "strange.weight": torch.zeros(1)}, path, {"format": "pt"})
    with pytest.raises(MiaError, match=r"1 tensors have no place, such as strange\.weight"):
        use()
    save_file({**tensors, lost: torch.zeros(2, 3)}, path, {"format": "pt"})
    with pytest.raises(MiaError, match=r"cannot load|are missing"):
        use()


def test_older_names_of_tensors_are_read(tmp_path):
    """Autoencoders of 2022 say query, key and value; CLIP's files kept a list of numbers."""
    shutil.copytree(BUNDLED / "tiny", tmp_path / "m")
    (vae,) = (tmp_path / "m" / "vae").glob("*.safetensors")
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in load_file(vae).items():
        for new, older in names.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{older}.")
        old[name] = tensor
    assert set(old) != set(load_file(vae))
    save_file(old, vae, {"format": "pt"})
    (clip,) = (tmp_path / "m" / "text_encoder").glob("*.safetensors")
    tensors = load_file(clip)
    prefix = "text_model." if any(n.startswith("text_model.") for n in tensors) else ""
    numbers = {f"{prefix}embeddings.position_ids": torch.arange(77)[None]}
    save_file({**tensors, **numbers}, clip, {"format": "pt"})
    model = replace(TINY, path=str(tmp_path / "m"))
    ours, theirs = (m.build(m.load_unet(), seed=0) for m in (model, TINY))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours.encode(image), theirs.encode(image))
    assert torch.equal(ours.embed(["a b"]).hidden, theirs.embed(["a b"]).hidden)


@pytest.mark.long
@pytest.mark.parametrize("part", [pytest.param("unet", marks=pytest.mark.long), "text_encoder"])
def test_pickles_come_with_the_command_that_converts_them(part, tmp_path):
    """The printed command is run, and the model is read."""
    folder = tmp_path / "a 'model' $HOME"
    shutil.copytree(BUNDLED / "tiny", folder)
    (path,) = (folder / part).glob("*.safetensors")
    name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
    torch.save(load_file(path), folder / part / name)
    path.unlink()
    model = replace(TINY, path=str(folder))
    with pytest.raises(MiaError, match=r"only pickles .* Where you trust them, convert them") as e:
        model.base_hash()
    command = conversion(folder / part)
    assert command in str(e.value)
    command = command.replace("python", sys.executable, 1)
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            model.load_unet().state_dict().values(),
            TINY.load_unet().state_dict().values(),
            strict=True,
        )
    )
    model.base_hash()


def test_a_single_file_may_have_a_unet_from_elsewhere(narrow, tmp_path):
    from original_layout import single_file

    file = single_file(narrow("sd1"), "sd1", tmp_path / "m.safetensors")
    unet = UNet2DConditionModel.from_pretrained(narrow("sd1") / "unet")
    with torch.no_grad():
        unet.conv_out.weight.mul_(2)
    unet.save_pretrained(tmp_path / "unet")
    model = StableDiffusion(str(file), 64, config=str(narrow("sd1")), unet=str(tmp_path / "unet"))
    model.check()
    assert torch.equal(model.load_unet().conv_out.weight, unet.conv_out.weight)
    assert model.base_hash() != replace(model, unet=None).base_hash()
    assert json.loads((tmp_path / "unet" / "config.json").read_text())["in_channels"] == 4


def test_a_text_encoder_trained_with_the_unet_is_not_left_out(checkpoint, tmp_path):
    both = tmp_path / "checkpoint-900"
    shutil.copytree(checkpoint / "unet", both / "unet")
    shutil.copytree(BUNDLED / "tiny" / "text_encoder", both / "text_encoder")
    model = replace(TINY, unet=str(both))
    model.check()  # the model's own, saved again
    file = both / "text_encoder" / "model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file)
    with pytest.raises(MiaError, match="holds a text_encoder too, which is not that of bundled:ti"):
        model.check()
    file.rename(file.with_name("pytorch_model.bin"))
    with pytest.raises(MiaError, match=r"Give model.unet=.*unet where the U-Net alone is meant"):
        model.check()
    replace(TINY, unet=str(both / "unet")).check()
