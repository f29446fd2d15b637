"""Pipelines with the networks of a text-to-image model are read; those asked with more are not."""

from __future__ import annotations

import json
import shutil

import diffusers
import pytest

from mia_bench.models.hub import BUNDLED
from mia_bench.models.readers.pipeline_kinds import FAMILY_OF
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError


def with_index(tmp_path, source, **change):
    shutil.copytree(source, tmp_path / "m")
    path = tmp_path / "m" / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    return StableDiffusion(str(tmp_path / "m"), 64)


def test_every_kind_is_one_of_diffusers_with_these_networks():
    import inspect

    for kind, family in FAMILY_OF.items():
        networks = set(inspect.signature(getattr(diffusers, kind).__init__).parameters)
        assert {"unet", "vae", "text_encoder", "tokenizer", "scheduler"} <= networks
        assert ("text_encoder_2" in networks) == (family == "StableDiffusionXL")
        assert "controlnet" not in networks


@pytest.mark.parametrize("kind", ["Img2Img", "PAG", "PAGImg2Img", "Inpaint"])
def test_pipelines_of_other_tasks_are_the_same_model(kind, tmp_path):
    model = with_index(tmp_path, BUNDLED / "tiny", _class_name=f"StableDiffusion{kind}Pipeline")
    model.check()
    assert model.base_hash() == StableDiffusion("bundled:tiny", 64).base_hash()


@pytest.mark.parametrize(
    "kind", ["StableDiffusionControlNetPipeline", "FluxPipeline", "KolorsPipeline"]
)
def test_other_pipelines_are_refused(kind, tmp_path):
    with pytest.raises(MiaError, match=f"is a {kind}"):
        with_index(tmp_path, BUNDLED / "tiny", _class_name=kind).check()


def test_a_refiner_is_no_target(narrow, tmp_path):
    model = with_index(
        tmp_path,
        narrow("sdxl"),
        _class_name="StableDiffusionXLImg2ImgPipeline",
        text_encoder=[None, None],
        tokenizer=[None, None],
    )
    with pytest.raises(MiaError, match="without text_encoder, as refiners are"):
        model.check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_embed_type": "projection"}, "takes a class embedding"),
        ({"in_channels": 8}, "takes 8 channels for latents of 4"),
        ({"addition_embed_type": "text_time"}, "of another family than the other parts"),
    ],
)
def test_a_unet_that_is_asked_with_more_is_refused_in_the_plan(change, message, tmp_path, plan_of):
    shutil.copytree(BUNDLED / "tiny", tmp_path / "m")
    path = tmp_path / "m" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(MiaError, match=message):
        plan_of(f"model.path={tmp_path / 'm'}", "data=imagefolder", "data.source.root=/nowhere")


OTHER_CLASSES = [
    ("unet", "UNet3DConditionModel"),
    ("vae", "AutoencoderTiny"),
    ("text_encoder", "T5EncoderModel"),
    ("tokenizer", "T5Tokenizer"),
    ("scheduler", "FlowMatchEulerDiscreteScheduler"),
    ("scheduler", "EDMEulerScheduler"),
]


@pytest.mark.parametrize(("part", "kind"), OTHER_CLASSES)
def test_a_part_of_another_class_is_refused_by_the_index(part, kind, tmp_path):
    """diffusers builds what model_index.json names, whatever the part's own configuration says."""
    model = with_index(tmp_path, BUNDLED / "tiny", **{part: ["diffusers", kind]})
    with pytest.raises(MiaError, match=f"the {part} of .* is a {kind}"):
        model.check()


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("unet", {"_class_name": "UNet3DConditionModel"}, "the unet of .* is a UNet3DConditionM"),
        ("vae", {"_class_name": "AsymmetricAutoencoderKL"}, "the vae of .* an? AsymmetricAuto"),
        (
            "text_encoder",
            {"architectures": ["T5EncoderModel"]},
            "encoder of .* is a T5EncoderModel",
        ),
        (
            "text_encoder",
            {"architectures": "XLMRobertaModel"},
            "encoder of .* is a XLMRobertaModel",
        ),
        ("text_encoder", {"model_type": "t5"}, "the text_encoder of .* is a t5 .* clip_text_model"),
        ("tokenizer", {"tokenizer_class": "T5Tokenizer"}, r"is a T5Tokenizer \(its tokenizer_conf"),
        ("unet", {"quantization_config": {"load_in_4bit": True}}, "the unet of .* is quantised"),
        ("text_encoder", {"quantization_config": {"bits": 8}}, "the text_encoder .* is quantised"),
    ],
)
def test_a_part_that_says_it_is_something_else_is_refused(part, change, message, tmp_path):
    shutil.copytree(BUNDLED / "tiny", tmp_path / "m")
    name = "tokenizer_config.json" if part == "tokenizer" else "config.json"
    path = tmp_path / "m" / part / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(MiaError, match=message):
        StableDiffusion(str(tmp_path / "m"), 64).check()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("text_encoder", {"architectures": ["CLIPTextModelWithProjection"]}),
        ("text_encoder", {"architectures": None, "model_type": "clip_text_model"}),
        ("text_encoder", {"architectures": []}),
        ("tokenizer", {"tokenizer_class": "CLIPTokenizerFast"}),
        ("tokenizer", {"tokenizer_class": None}),
    ],
)
def test_other_names_of_the_same_class_are_read(part, change, tmp_path):
    shutil.copytree(BUNDLED / "tiny", tmp_path / "m")
    name = "tokenizer_config.json" if part == "tokenizer" else "config.json"
    path = tmp_path / "m" / part / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    StableDiffusion(str(tmp_path / "m"), 64).check()
