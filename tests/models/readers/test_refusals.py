"""Directories and files of another convention are refused with class, file and remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dit_pipelines import SIDE
from safetensors.torch import load_file, save_file

from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.models.dit.families import FAMILIES
from mia_bench.models.readers.refusals import CONVERTED, SUPPORTED, header, refuse_pipeline
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError

Saved = Callable[[str], Path]


@pytest.fixture
def saved(saved_dit: Saved, tmp_path: Path) -> Saved:
    return lambda family: Path(shutil.copytree(saved_dit(family), tmp_path / family))


def model_of(path: Path, family: str = "sd3", **options: Any) -> DiffusionTransformer:
    return DiffusionTransformer(str(path), SIDE.get(family, 16), **options)


def edit(path: Path, **options: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | options))


BETAS = {"_class_name": "DDPMScheduler", "beta_schedule": "linear"}
SOLVER = {"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True}
SCHEDULERS = [
    (BETAS, "StableDiffusion3Pipeline, a model of flow matching, with a DDPMScheduler"),
    ({"invert_sigmas": True}, "invert_sigmas set"),
    ({"num_train_timesteps": 500}, "num_train_timesteps=500"),
    ({"curved_path": True}, "option curved_path"),
    ({"time_shift_type": "cubic"}, "FlowMatchEulerDiscreteScheduler refuses: .*time_shift_type"),
    ({"shift": "three"}, "FlowMatchEulerDiscreteScheduler refuses"),
    (SOLVER | {"prediction_type": "epsilon"}, "prediction_type=epsilon"),
    (SOLVER | {"use_flow_sigmas": False, "prediction_type": "flow_prediction"}, "needs true"),
]


@pytest.mark.parametrize(("options", "words"), SCHEDULERS)
def test_a_scheduler_of_another_convention(
    options: dict[str, Any], words: str, saved: Saved
) -> None:
    path = saved("sd3")
    edit(path / "scheduler" / "scheduler_config.json", **options)
    with pytest.raises(MiaError, match=words):
        model_of(path).base_hash()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers
def test_a_solver_on_flow_sigmas_is_read(saved: Saved) -> None:
    """Sana ships one: sigma = t / 1000 all the same."""
    path = saved("sana")
    config = SOLVER | {"prediction_type": "flow_prediction", "flow_shift": 3.0}
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    model = model_of(path, "sana")
    assert model.base_hash()
    target = model.build(model.load_unet(), seed=0)
    sigmas = target.schedule.sampler(4)  # type: ignore[union-attr]
    assert sigmas[0] > 0.99
    assert sigmas[-1] == 0


def test_a_flow_scheduler_beside_betas_and_a_unet(
    saved: Saved, narrow: Any, tmp_path: Path
) -> None:
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    path = saved("pixart_alpha")
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(flow))
    with pytest.raises(MiaError, match="has a FlowMatchEulerDiscreteScheduler"):
        model_of(path).base_hash()
    shutil.copytree(narrow("sd1"), tmp_path / "unet")
    (tmp_path / "unet" / "scheduler" / "scheduler_config.json").write_text(json.dumps(flow))
    with pytest.raises(MiaError, match="has a FlowMatchEulerDiscreteScheduler"):
        StableDiffusion(str(tmp_path / "unet"), 64).base_hash()


@pytest.mark.parametrize(
    ("family", "part", "kind"),
    [
        ("sd3", "scheduler", "DDPMScheduler"),
        ("sd3", "transformer", "FluxTransformer2DModel"),
        ("pixart_sigma", "scheduler", "FlowMatchEulerDiscreteScheduler"),
        ("pixart_sigma", "vae", "AutoencoderTiny"),
    ],
)
def test_a_part_of_another_class(family: str, part: str, kind: str, saved: Saved) -> None:
    path = saved(family)
    edit(path / "model_index.json", **{part: ["diffusers", kind]})
    with pytest.raises(MiaError, match=f"the {part} of .* is a {kind}"):
        model_of(path, family).base_hash()


@pytest.mark.parametrize(
    ("family", "part", "change", "named"),
    [
        ("sd3", "transformer", {"_class_name": "FluxTransformer2DModel"}, "FluxTransformer2DModel"),
        ("sd3", "vae", {"_class_name": "AutoencoderTiny"}, "AutoencoderTiny"),
        ("sd3", "text_encoder_3", {"architectures": ["Qwen3Model"]}, "qwen3"),
        ("sd3", "text_encoder_3", {"architectures": ["OwnEncoder"]}, "OwnEncoder"),
        ("sd3", "text_encoder", {"model_type": "t5"}, "t5"),
    ],
)
def test_a_part_that_says_it_is_something_else(
    family: str, part: str, change: dict[str, Any], named: str, saved: Saved
) -> None:
    path = saved(family)
    edit(path / part / "config.json", **change)
    with pytest.raises(MiaError, match=rf"the {part} of .* is a {named} "):
        model_of(path, family).base_hash()


def test_other_names_of_one_kind_are_read(saved: Saved) -> None:
    """PixArt is published under the class that diffusers divided later, and text encoders under
    that of the whole model."""
    path = saved("pixart_sigma")
    key = model_of(path, "pixart_sigma").base_hash()
    older = "Transformer2DModel"
    edit(path / "model_index.json", transformer=["diffusers", older])
    edit(path / "transformer/config.json", _class_name=older, norm_type="ada_norm_single")
    edit(path / "text_encoder/config.json", architectures=["T5ForConditionalGeneration"])
    assert model_of(path, "pixart_sigma").base_hash() == key
    edit(path / "transformer/config.json", norm_type="ada_norm_zero")
    with pytest.raises(MiaError, match=r"the transformer of .* is a Transformer2DModel"):
        model_of(path, "pixart_sigma").base_hash()


def test_a_variant_that_no_part_has(saved: Saved) -> None:
    path = saved("sd3")
    with pytest.raises(MiaError, match=r"model\.variant=pf16: no part of .* plain weights alone"):
        model_of(path, variant="pf16").base_hash()
    file = path / "vae" / "diffusion_pytorch_model.safetensors"
    shutil.copy(file, file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    with pytest.raises(MiaError, match="Did you mean 'fp16'"):
        model_of(path, variant="pf16").base_hash()
    assert model_of(path, variant="fp16").base_hash()  # parts without it are read plain


def test_a_missing_text_encoder(saved: Saved) -> None:
    path = saved("sd3")
    shutil.rmtree(path / "text_encoder_3")
    with pytest.raises(MiaError, match=r"without its text_encoder_3: .*complete directory"):
        model_of(path).base_hash()
    shutil.rmtree(path / "tokenizer_2")
    with pytest.raises(MiaError, match=r"StableDiffusion3Pipeline without its tokenizer_2: "):
        model_of(path).base_hash()
    whole = saved("flux_schnell")
    for nothing in ([None, None], None, []):
        edit(whole / "model_index.json", text_encoder_2=nothing)
        with pytest.raises(MiaError, match="without its text_encoder_2"):
            model_of(whole).base_hash()


@pytest.mark.parametrize("part", ["text_encoder", "tokenizer"])
def test_a_missing_text_encoder_beside_a_unet(part: str, narrow: Any, tmp_path: Path) -> None:
    shutil.copytree(narrow("sd1"), tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / part)
    with pytest.raises(MiaError, match=f"StableDiffusionPipeline without its {part}: "):
        StableDiffusion(str(tmp_path / "m"), 64).check()


def test_guidance_is_given_where_it_is_an_input_and_only_there(saved: Saved) -> None:
    dev, schnell = saved("flux_dev"), saved("flux_schnell")
    with pytest.raises(MiaError, match=r"distilled with guidance.*model.guidance=1"):
        model_of(dev).base_hash()
    with pytest.raises(MiaError, match=r"takes no guidance.*model.guidance=null"):
        model_of(schnell, guidance=3.5).base_hash()
    one, four = model_of(dev, guidance=1.0), model_of(dev, guidance=4.0)
    assert one.base_hash() != four.base_hash()


def test_eight_bits_are_refused(saved: Saved) -> None:
    path = saved("sd3")
    file = path / "transformer" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    name = next(iter(state))
    save_file(state | {name: state[name].to(torch.float8_e4m3fn)}, file)
    with pytest.raises(MiaError, match=r"weights in F8_E4M3.*bfloat16"):
        model_of(path).base_hash()
    edit(path / "vae" / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    file.unlink()
    save_file(state, file)
    with pytest.raises(MiaError, match=r"the vae of .* is quantised \(quantization_config"):
        model_of(path).base_hash()


def test_eight_bits_of_a_unet_are_refused(narrow: Any, tmp_path: Path) -> None:
    shutil.copytree(narrow("sd1"), tmp_path / "m")
    (file,) = (tmp_path / "m" / "unet").glob("*.safetensors")
    state = load_file(file)
    save_file({k: v.to(torch.float8_e5m2) for k, v in state.items()}, file, {"format": "pt"})
    with pytest.raises(MiaError, match=r"unet/.* holds weights in F8_E5M2"):
        StableDiffusion(str(tmp_path / "m"), 64).check()


QKV = "double_blocks.0.img_attn.qkv.weight"
FILES = [
    (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], "StableDiffusion3Pipeline"),
    ([QKV], "FluxPipeline"),
    ([QKV, "single_stream_modulation.lin.weight"], "Flux2KleinPipeline"),
    (["transformer_blocks.0.img_mod.1.weight"], "QwenImagePipeline"),
    (["cap_embedder.0.weight", "layers.0.adaLN_modulation.0.weight"], "ZImagePipeline"),
    (["cap_embedder.0.weight", "layers.0.adaLN_modulation.1.weight"], "Lumina2Pipeline"),
    (["blocks.0.cross_attn.q_linear.weight", "attention_y_norm.weight"], "SanaPipeline"),
]


@pytest.mark.parametrize(("tensors", "kind"), FILES)
def test_a_single_file_is_refused_by_its_kind(
    tensors: list[str], kind: str, tmp_path: Path
) -> None:
    """By every builder, with the command that makes a folder of it."""
    file = tmp_path / "model.safetensors"
    save_file({name: torch.ones(1) for name in tensors}, file)
    command = (
        rf"is a single-file checkpoint of a {kind}: .*import {CONVERTED[kind]} as N; .*<folder>"
    )
    unet = StableDiffusion(str(file), 64)
    for ask in (model_of(file).base_hash, model_of(file).fetch, unet.check):
        with pytest.raises(MiaError, match=command):
            ask()


def test_the_command_names_the_network_of_each_family() -> None:
    flow = {f.pipeline: f.transformer for f in FAMILIES.values() if f.flow}
    assert flow == CONVERTED


@pytest.mark.parametrize(
    ("name", "tensors", "words"),
    [
        ("a.safetensors", [QKV, "distilled_guidance_layer.in.bias"], "is a ChromaPipeline, and"),
        ("a.safetensors", ["blocks.0.cross_attn.q_linear.weight"], "PixArtAlpha.*diffusers folder"),
        ("a.safetensors", ["something.weight"], "of a kind that its tensors do not tell"),
        ("a.safetensors", ["model.diffusion_model.input_blocks.0.0.weight"], "use model=sd15"),
        ("a.safetensors", ["transformer.x.lora_A.weight"], r"give it as model\.lora=.*a\.saf"),
        ("transformer/a.safetensors", ["x.weight"], r"one network of .*model\.path=/.*[^r]\.$"),
        ("a.sft", [QKV], "single-file checkpoint of a FluxPipeline"),
    ],
)
def test_other_single_files(name: str, tensors: list[str], words: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    if file.parent != tmp_path:
        (tmp_path / "model_index.json").write_text("{}")
    save_file({tensor: torch.ones(1) for tensor in tensors}, file)
    with pytest.raises(MiaError, match=words):
        model_of(file).base_hash()


def test_files_that_no_header_tells_of(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({QKV: torch.ones(1).to(torch.float8_e4m3fn)}, file)
    assert list(header(file)) == [QKV]
    with pytest.raises(MiaError, match="weights in F8_E4M3"):
        model_of(file).base_hash()
    file.write_bytes(b"\xff" * 16)
    assert header(file) == {}
    for name, words in (
        ("model.safetensors", "no header of safetensors"),
        ("model.gguf", "is a GGUF, whose weights are quantised"),
        ("model.ckpt", "is a pickle"),
    ):
        (tmp_path / name).write_bytes(b"\xff" * 16)
        with pytest.raises(MiaError, match=words):
            model_of(tmp_path / name).base_hash()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("FluxFillPipeline", "further channels.*nearest that is read is FluxPipeline"),
        ("Flux2Pipeline", "Mistral text encoder.*nearest that is read is Flux2KleinPipeline"),
        ("KolorsPipeline", "ChatGLM text encoder.*StableDiffusionXLPipeline"),
        ("StableDiffusion3Img2ImgPipeline", "change _class_name.*StableDiffusion3Pipeline"),
        ("HiDreamImagePipeline", "four text encoders"),
        ("SomethingElsePipeline", r"transformer and text stack\. Read are DDIMPipeline,"),
        ("LuminaPipeline", "nearest that is read is Lumina2Pipeline"),
        ("PixArtSigmaPAGPipeline", "change _class_name.*nearest that is read is PixArtSigma"),
    ],
)
def test_every_other_class_is_named_with_what_is_missing(
    kind: str, words: str, saved: Saved
) -> None:
    path = saved("sd3")
    edit(path / "model_index.json", _class_name=kind)
    with pytest.raises(MiaError, match=f"is a {kind}, and there is no builder.*{words}"):
        model_of(path).base_hash()


def test_an_index_without_a_class(saved: Saved) -> None:
    path = saved("sd3")
    edit(path / "model_index.json", _class_name=None)
    with pytest.raises(MiaError, match=r"model_index\.json names no pipeline"):
        model_of(path).base_hash()
    assert "is an AuraFlowPipeline" in str(refuse_pipeline("AuraFlowPipeline", "x", ()))


def test_a_family_that_another_yaml_reads_is_sent_there(saved: Saved) -> None:
    path = saved("sd3")
    with pytest.raises(MiaError, match=r"is a StableDiffusion3Pipeline: use model=sd3"):
        replace(model_of(path), family="FluxPipeline").base_hash()
    error = refuse_pipeline("StableDiffusionXLPipeline", "x", SUPPORTED)
    assert "use model=sdxl" in str(error)
    for name in SUPPORTED:
        assert hasattr(__import__("diffusers"), name)


def test_parts_that_do_not_go_together(saved: Saved) -> None:
    path = saved("sd3")
    model = model_of(path)
    with pytest.raises(MiaError, match="multiple of 4"):
        replace(model, resolution=18).build(model.load_unet(), seed=0)
    for side in (0, 18):
        with pytest.raises(MiaError, match="multiple of 4"):
            replace(model, resolution=side).check()
    for options in ({"sigma_floor": 0.9}, {"dtype": "int8"}, {"tokens": 0}):
        with pytest.raises(ValueError, match=r"sigma_floor|dtype|tokens"):
            model_of(path, **options)


def test_images_and_captions_beyond_the_positions_of_a_network(saved_dit: Saved) -> None:
    model_of(saved_dit("sd3")).check()
    for family, most in (("sd3", 64), ("z_image", 128)):
        path = saved_dit(family)
        largest = replace(model_of(path), resolution=most)
        largest.check()
        with pytest.raises(MiaError, match=rf"{most // 4} positions a side .* at most {most}\."):
            replace(largest, resolution=most + 4).check()
    with pytest.raises(MiaError, match=r"longer than the 256 positions .*model\.tokens=256"):
        model_of(saved_dit("z_image"), tokens=300).check()
