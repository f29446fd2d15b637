"""Two models with one key answer alike: whatever is changed in a folder, answers or the key move.

Every option of every configuration, and bytes of every file with words, are changed one at a time.
Where the key stays, the model is built and asked; where it moves there is nothing to show.
"""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import replace

import pytest
import torch

from mia_bench.models import identity
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError

TINY = StableDiffusion("bundled:tiny", 64)
CAPTIONS = ["a red apple, it's <|endoftext|>", "", "two Dogs!! " * 30]


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(TINY.folder, tmp_path / "tiny")
    return replace(TINY, path=str(tmp_path / "tiny"))


def key(model):
    return model.base_hash(), model.encoder_hash()


def answers(model):
    target = model.build(model.load_unet(), seed=0)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        z0 = target.encode(image)
        cond = target.embed(CAPTIONS)
        eps = [target.predict_noise(z0.expand(3, -1, -1, -1), t, cond) for t in (0, 500)]
        return [z0, cond.hidden, target.decode(z0), target.a, target.b, *eps, target.pad_token]


def same(one, two):
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(one, two, strict=True)
    )


def otherwise(value):
    """Other values an option might have."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value]
    if isinstance(value, float):
        return [value * 1.5 + 0.1]
    if isinstance(value, list):
        return [value[::-1], value[:1]] if value else [[1]]
    return {None: ["a", 2, True], "silu": ["gelu"], "quick_gelu": ["gelu"]}.get(value, ["!"])


CONFIGS = [  # every option of one asks the model again: minutes for the larger ones
    pytest.param("scheduler/scheduler_config.json", marks=pytest.mark.long),
    pytest.param("text_encoder/config.json", marks=pytest.mark.long),
    pytest.param("tokenizer/tokenizer_config.json", marks=pytest.mark.long),
    pytest.param("unet/config.json", marks=pytest.mark.long),
    pytest.param("vae/config.json", marks=pytest.mark.long),
]


@pytest.mark.parametrize("name", CONFIGS)
def test_no_option_changes_answers_and_not_the_key(name, copy):
    expected, usual = answers(TINY), key(TINY)
    path = copy.folder / name
    written = json.loads(path.read_text())
    changed = [{**written, k: v} for k, old in written.items() for v in otherwise(old)]
    changed += [{k: v for k, v in written.items() if k != left_out} for left_out in written]
    if name.startswith("scheduler"):
        changed += [{**written, "_use_default_values": [k]} for k in written]
    moved = 0
    for config in changed:
        path.write_text(json.dumps(config, indent=4))
        try:
            if key(copy) != usual:
                moved += 1
                continue
            found = answers(copy)
        except (MiaError, TypeError, ValueError, RuntimeError, AttributeError, KeyError):
            continue  # a model that cannot be built has no answers
        assert same(found, expected), {k: v for k, v in config.items() if written.get(k) != v}
    assert moved > 3


@pytest.mark.long
def test_no_byte_of_the_words_changes_answers_and_not_the_key(copy):
    path = copy.folder / "tokenizer" / "tokenizer.json"
    data, usual, moved = path.read_bytes(), key(TINY), 0
    for i in torch.randint(len(data), (30,), generator=torch.Generator().manual_seed(0)).tolist():
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        try:
            if key(copy) != usual:
                moved += 1
                continue
            found = answers(copy)
        except MiaError:
            continue
        assert same(found, answers(TINY)), i
    assert moved > 5


@pytest.mark.first_look
@pytest.mark.parametrize("file", ["vocab.json", "merges.txt", "special_tokens_map.json"])
def test_the_older_form_of_a_tokenizer_is_read_too(file, copy, pipelines):
    pipelines.with_old_tokenizer(copy.folder)
    config = copy.folder / "tokenizer" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_max_length": 32}))
    assert key(copy) == key(TINY)
    assert same(answers(copy), answers(TINY))
    path = copy.folder / "tokenizer" / file
    change = {"merges.txt": ("e d</w>", "d e</w>")}.get(file, ('"<|endoftext|>"', '"!"'))
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8")
    assert key(copy) != key(TINY)


def test_a_padding_of_the_tokenizers_config_is_another_model(copy):
    path = copy.folder / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": "!"}))
    assert key(copy) != key(TINY)


def test_formatting_names_and_versions_are_no_other_model(copy):
    for path in copy.folder.rglob("*.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if "config" in path.name:
            config |= {"_diffusers_version": "9", "_name_or_path": "x", "transformers_version": "0"}
        path.write_text(json.dumps(dict(reversed(config.items()))), encoding="utf-8")
    assert key(copy) == key(TINY)


@pytest.mark.first_look
@pytest.mark.parametrize("left_out", ["beta_start", "beta_end", "beta_schedule"])
def test_what_a_schedule_does_not_say_is_diffusers_default(left_out, copy):
    """As after another pipeline's scheduler was written over: 0.0001, 0.02 and linear."""
    path = copy.folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    del config[left_out]
    path.write_text(json.dumps(config))
    assert key(copy) != key(TINY)
    assert not same(answers(copy), answers(TINY))


@pytest.mark.long
def test_force_zeros_is_part_of_sdxl(narrow, tmp_path):
    shutil.copytree(narrow("sdxl"), tmp_path / "xl")
    model = StableDiffusion(str(tmp_path / "xl"), 64)
    usual, index = model.base_hash(), tmp_path / "xl" / "model_index.json"
    config = json.loads(index.read_text())
    index.write_text(json.dumps({**config, "force_zeros_for_empty_prompt": False}))
    assert model.base_hash() != usual


def test_tiles_are_part_of_what_encodes_where_they_are_used(copy):
    tiled = replace(copy, vae_tiling=True)
    path, usual = copy.folder / "vae" / "config.json", [key(copy), key(tiled)]
    path.write_text(path.read_text().replace('"sample_size": 64', '"sample_size": 32'))
    assert [key(copy) == usual[0], key(tiled) == usual[1]] == [True, False]


def test_defaults_are_those_of_the_libraries():
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig

    from mia_bench.models import schedule

    for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        for name, parameter in inspect.signature(kind.__init__).parameters.items():
            if name != "self" and name not in identity.LEFT_OUT[part]:
                default = parameter.default
                default = list(default) if isinstance(default, tuple) else default
                assert default in (identity.DEFAULTS[part].get(name), None, False), name
                assert (name in identity.DEFAULTS[part]) == (default not in (None, False)) or (
                    default == identity.DEFAULTS[part].get(name)
                ), name
    text = CLIPTextConfig()
    for name, value in identity.DEFAULTS["text_encoder"].items():
        assert getattr(text, name) == value
    betas = inspect.signature(DDPMScheduler.__init__).parameters
    assert {name: betas[name].default for name in schedule.DEFAULTS} == schedule.DEFAULTS
