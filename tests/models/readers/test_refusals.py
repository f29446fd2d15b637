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
from mia_bench.models.readers.refusals import SUPPORTED, header, refuse_pipeline
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
    with pytest.raises(MiaError, match=r"without its text_encoder_3.*complete directory"):
        model_of(path).base_hash()
    whole = saved("flux_schnell")
    edit(whole / "model_index.json", text_encoder_2=[None, None])
    with pytest.raises(MiaError, match="without its text_encoder_2"):
        model_of(whole).base_hash()


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


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (
            "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
            "StableDiffusion3Pipeline",
        ),
        ("double_blocks.0.img_attn.qkv.weight", "FluxPipeline"),
        ("something.weight", "of a kind that its tensors do not tell"),
    ],
)
def test_a_single_file_is_refused_by_its_kind(tensor: str, kind: str, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({tensor: torch.ones(1)}, file)
    for ask in (model_of(file).base_hash, model_of(file).fetch):
        with pytest.raises(MiaError, match=f"{kind}.*save_pretrained"):
            ask()
    assert list(header(file)) == [tensor]
    file.write_bytes(b"\xff" * 16)
    assert header(file) == {}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("FluxFillPipeline", "further channels.*nearest that is read is FluxPipeline"),
        ("Flux2Pipeline", "Mistral text encoder.*nearest that is read is Flux2KleinPipeline"),
        ("KolorsPipeline", "ChatGLM text encoder.*StableDiffusionXLPipeline"),
        ("StableDiffusion3Img2ImgPipeline", "change _class_name.*StableDiffusion3Pipeline"),
        ("HiDreamImagePipeline", "four text encoders"),
        ("SomethingElsePipeline", "transformer and text stack"),
    ],
)
def test_every_other_class_is_named_with_what_is_missing(
    kind: str, words: str, saved: Saved
) -> None:
    path = saved("sd3")
    edit(path / "model_index.json", _class_name=kind)
    with pytest.raises(MiaError, match=f"is a {kind}, and there is no builder.*{words}"):
        model_of(path).base_hash()


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
    for options in ({"sigma_floor": 0.9}, {"dtype": "int8"}):
        with pytest.raises(ValueError, match=r"sigma_floor|dtype"):
            model_of(path, **options)
