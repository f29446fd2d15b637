"""One file of the original layout gives, bit for bit, the answers of the folder it was made of."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from original_layout import single_file
from safetensors.torch import load_file, save_file

from mia_bench.models.readers.single_file import CONFIGS, config_folder, shapes
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError

CAPTIONS = ["two red apples on a table", "", "it's a very long caption " * 20]


def answers(model):
    target = model.build(model.load_unet(), seed=0)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        z0, cond = target.encode(image), target.embed(CAPTIONS)
        eps = target.predict_noise(z0.expand(3, -1, -1, -1), 400, cond)
        return [z0, cond.hidden, *cond.extra.values(), target.decode(z0), target.a, eps]


@pytest.fixture(scope="module")
def made(narrow, tmp_path_factory):
    """made(family): (the folder, the single file made of it)."""
    folder = tmp_path_factory.mktemp("files")
    return lambda family: (
        narrow(family),
        path
        if (path := folder / f"{family}.safetensors").is_file()
        else single_file(narrow(family), family, path),
    )


@pytest.mark.first_look
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_single_file_answers_as_the_folder_does(family, made):
    folder, file = made(family)
    model = StableDiffusion(str(file), 64, config=str(folder))
    model.check()
    ours, theirs = answers(model), answers(StableDiffusion(str(folder), 64))
    assert len(ours) == len(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert model.timesteps() == 1000
    assert model.unet_bytes() == file.stat().st_size


def test_the_configurations_are_part_of_the_key(made, tmp_path):
    folder, file = made("sd1")
    usual = StableDiffusion(str(file), 64, config=str(folder))
    shutil.copytree(folder, tmp_path / "v", ignore=shutil.ignore_patterns("*.safetensors"))
    other = StableDiffusion(str(file), 64, config=str(tmp_path / "v"))
    assert other.base_hash() == usual.base_hash()
    path = tmp_path / "v" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "v_prediction"}))
    assert other.base_hash() != usual.base_hash() != StableDiffusion(str(folder), 64).base_hash()


REAL = {  # the first and the cross-attention's weight of each family
    "sd1": (320, 768, "cond_stage_model.transformer."),
    "sd2": (320, 1024, "cond_stage_model.model."),
    "sdxl": (320, 2048, "conditioner.embedders.0.transformer."),
}


def header_of(tmp_path, family, **more):
    """A file with the tensors by which a family is told, of its real widths."""
    width, context, text = REAL[family]
    tensors = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(width, 4, 3, 3),
        "model.diffusion_model.input_blocks.1.1.attn2.to_k.weight": torch.zeros(1, context),
        "first_stage_model.encoder.conv_in.weight": torch.zeros(1),
        f"{text}x": torch.zeros(1),
        **more,
    }
    save_file(tensors, tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_the_family_is_told_by_the_tensors(tmp_path):
    assert config_folder(header_of(tmp_path, "sd1"), None).name == "sd1"
    assert config_folder(header_of(tmp_path, "sdxl"), None).name == "sdxl"
    file = header_of(tmp_path, "sdxl", v_pred=torch.zeros(0), ztsnr=torch.zeros(0))
    assert config_folder(file, None).name == "sdxl_v"
    target = StableDiffusion(str(file), None)
    target.check()
    assert target.pipeline.schedule()["prediction_type"] == "v_prediction"
    assert target.pipeline.schedule()["rescale_betas_zero_snr"]
    assert target.side == 1024
    file = header_of(tmp_path, "sd2")
    with pytest.raises(MiaError, match=r"model\.config=sd2_v .* or model\.config=sd2 "):
        config_folder(file, None)
    for config, side in (("sd2_v", 768), ("sd2", 512)):
        model = StableDiffusion(str(file), None, config=config)
        model.check()
        assert model.side == side


def test_packaged_configurations_are_the_real_ones(pipelines):
    """As the networks of the hub's repositories, and as what keys leave out as usual."""
    for name in ("sd1", "sd2", "sd2_v", "sdxl", "sdxl_v"):
        family = name.partition("_")[0]
        config = json.loads((CONFIGS / name / "unet" / "config.json").read_text())
        for option, value in pipelines.FULL_UNET[family].items():
            if option not in ("sample_size", "dual_cross_attention"):
                assert config[option] == (list(value) if isinstance(value, tuple) else value)
        for i, widths in enumerate(pipelines.FULL_TEXT[family]):
            part = ["text_encoder", "text_encoder_2"][i]
            text = json.loads((CONFIGS / name / part / "config.json").read_text())
            assert {k: text[k] for k in widths} == widths
    from mia_bench.models import identity

    for name in ("sd1", "sd2_v", "sdxl"):
        for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
            assert identity.network(CONFIGS / name / part, part) is None
        assert identity.tokenizer(CONFIGS / name, "tokenizer", "text_encoder") is None


@pytest.mark.long
def test_tokenizers_of_the_package_are_those_of_the_models(pipelines):
    from mia_bench.models.readers.caption_tokens import load_tokenizer

    for name, part, pad in (
        ("sd1", "tokenizer", "<|endoftext|>"),
        ("sd2", "tokenizer", "!"),
        ("sdxl", "tokenizer_2", "!"),
    ):
        ours, theirs = load_tokenizer(CONFIGS / name / part), pipelines.tokenizer(pad)
        options = {"padding": "max_length", "truncation": True}
        assert ours(CAPTIONS, **options).input_ids == theirs(CAPTIONS, **options).input_ids


@pytest.mark.long
def test_what_would_be_left_out_or_made_up_is_refused(made, tmp_path):
    folder, file = made("sd1")
    tensors = load_file(file)

    def model(change):
        save_file(change(dict(tensors)), tmp_path / "x.safetensors")
        return StableDiffusion(str(tmp_path / "x.safetensors"), 64, config=str(folder))

    first = torch.zeros(2)
    cases = [
        ({"control_model.x": first}, "1 tensors that have no place .* control_model.x"),
        ({f"model_ema.{i}": torch.zeros(1) for i in range(5)}, r"two U-Nets: .*model_ema"),
        ({"alphas_cumprod": torch.linspace(0.9, 0.1, 1000)}, "a schedule of its own"),
        ({"v_pred": torch.zeros(0)}, "is marked v_pred"),
    ]
    for more, message in cases:
        with pytest.raises(MiaError, match=message):
            model(lambda t, more=more: {**t, **more}).check()
    with pytest.raises(MiaError, match="lacks an autoencoder"):
        model(lambda t: {k: v for k, v in t.items() if "first_stage" not in k}).check()
    extra = {"model.diffusion_model.middle_block.7.x.weight": first}
    with pytest.raises(MiaError, match="numbers in the file"):
        model(lambda t: {**t, **extra}).load_unet()
    lost = "model.diffusion_model.middle_block.0.in_layers.2.bias"
    with pytest.raises(MiaError, match=r"unet of .*x\.safetensors"):
        model(lambda t: {k: v for k, v in t.items() if k != lost}).load_unet()
    del tensors["cond_stage_model.transformer.text_model.final_layer_norm.bias"]
    broken = model(lambda t: t)
    with pytest.raises(MiaError, match=r"text_encoder of .*x\.safetensors"):
        broken.build(broken.load_unet(), seed=0).embed(["a"])


def test_other_files_say_what_they_are(narrow, tmp_path):
    (part,) = (narrow("sd1") / "unet").glob("*.safetensors")
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(1)}, tmp_path / "l.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors at all")
    for path, message in (
        (part, r"one network of a diffusers folder \(model\.unet="),
        (tmp_path / "l.safetensors", r"it is a LoRA \(model\.lora="),
        (tmp_path / "broken.safetensors", "cannot read"),
        (tmp_path / "none.safetensors", "is not there"),
        (tmp_path / "m.ckpt", "is a pickle"),
    ):
        with pytest.raises(MiaError, match=message):
            StableDiffusion(str(path), 64).check()
    with pytest.raises(MiaError, match=r"is for a single \.safetensors file"):
        StableDiffusion(str(narrow("sd1")), 64, config="sd1").check()
    with pytest.raises(MiaError, match="Did you mean 'sdxl'"):
        StableDiffusion(str(part), 64, config="sdx").check()


def test_a_file_of_other_widths_than_the_package_knows_is_refused_in_the_plan(made):
    _, file = made("sd1")
    assert shapes(file)["model.diffusion_model.input_blocks.0.0.weight"] == (8, 4, 3, 3)
    with pytest.raises(MiaError, match=r"8 channels wide for a text of 16.*320 for 768"):
        StableDiffusion(str(file), 64).check()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"<toy>": (1, 16)}, "textual inversion.*model.embeddings="),
        ({"emb_params": (3, 16)}, "textual inversion"),
        ({"clip_l": (1, 16), "clip_g": (1, 24)}, "textual inversion"),
        ({"encoder.conv_in.weight": (8, 3, 3, 3), "decoder.x": (2,)}, "an autoencoder alone"),
        ({"text_model.embeddings.x": (2, 2), "text_model.y": (2,)}, "a text encoder alone"),
        ({"something": (1, 2, 3), "else": (2,)}, "no U-Net of the original layout. Name the model"),
    ],
)
def test_a_part_of_a_model_says_what_it_is_and_which_key_takes_it(tensors, said, tmp_path):
    file = tmp_path / "part.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, file)
    with pytest.raises(MiaError, match=said):
        config_folder(file, None)
