"""Adapters in whole pipelines: U-Net and text encoders, several at once, and names of SDXL."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file

from mia_bench.models.lora.files import NAME
from mia_bench.models.lora.fusion import named_layers, original_name
from mia_bench.models.readers.chosen_loras import chosen_loras
from mia_bench.models.readers.clip_stack import ClipStack
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError

TARGETS = {"unet": ["to_q", "to_out.0", "conv1"], "text_encoder": ["q_proj", "fc1"]}


def encoder_of(model):
    """The text encoder of a builder, with its LoRAs."""
    stack = ClipStack(model.pipeline, chosen_loras(model.lora, model.lora_scale), None)
    return stack.encoder("text_encoder", torch.float32)[0]


@pytest.fixture
def model(narrow):
    return lambda family, **options: StableDiffusion(str(narrow(family)), 64, **options)


def adapt(network, part, seed, alpha, name="mine"):
    """Add an adapter whose matrices are all drawn; its matrices and settings."""
    config = LoraConfig(r=2, lora_alpha=alpha, target_modules=TARGETS[part])
    inject_adapter_in_model(config, network, name)
    network.peft_config = {name: config}
    generator = torch.Generator().manual_seed(seed)
    for key, parameter in network.named_parameters():
        if f".{name}." in key:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    settings = {**config.to_dict(), "target_modules": TARGETS[part]}
    return get_peft_model_state_dict(network, adapter_name=name), settings


@pytest.fixture
def saved(narrow, tmp_path):
    """saved(name, seed, alpha): a LoRA of U-Net and text encoder, as diffusers saves it."""

    def save(name, seed=0, alpha=3):
        pipe = StableDiffusionPipeline.from_pretrained(narrow("sd1"))
        layers, settings = {}, {}
        for part in TARGETS:
            network = getattr(pipe, part)
            layers[part], settings[part] = adapt(network, part, seed, alpha)
        StableDiffusionPipeline.save_lora_weights(
            tmp_path / name,
            layers["unet"],
            layers["text_encoder"],
            unet_lora_adapter_metadata=settings["unet"],
            text_encoder_lora_adapter_metadata=settings["text_encoder"],
        )
        return tmp_path / name

    return save


def weights(network, base):
    """{layer: what its weight has more than the base's}; where it has none, nothing."""
    before = {n.removeprefix("text_model."): p.detach() for n, p in base.named_parameters()}
    found = {}
    for name, parameter in network.named_parameters():
        name = name.removeprefix("text_model.")
        if not torch.equal(parameter, before[name]):
            found[name] = parameter.detach() - before[name]
    return found


def ours(model, base_model):
    """Changes of U-Net and text encoder of a builder."""
    found = {"unet": weights(model.load_unet(), base_model.load_unet())}
    encoders = [encoder_of(m) for m in (model, base_model)]
    return {**found, "text_encoder": weights(*encoders)}


@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute")
def test_several_loras_are_those_of_diffusers(model, saved, narrow):
    one, two = saved("one", 1), saved("two", 2, alpha=1)
    unet, base = (StableDiffusionPipeline.from_pretrained(narrow("sd1")).unet for _ in range(2))
    for name, path in (("one", one), ("two", two)):
        unet.load_lora_adapter(str(path), prefix="unet", weight_name=NAME, adapter_name=name)
    unet.set_adapters(["one", "two"], [1.0, 0.7])
    unet.fuse_lora(adapter_names=["one", "two"])
    unet.unload_lora()
    tuned = model("sd1", lora=(str(one), str(two)), lora_scale=(1.0, 0.7))
    found, expected = ours(tuned, model("sd1"))["unet"], weights(unet, base)
    assert found.keys() == expected.keys()
    assert len(expected) > 10
    for name, change in expected.items():
        torch.testing.assert_close(found[name], change, atol=1e-5, rtol=1e-4)


@pytest.mark.long
def test_a_text_encoder_answers_as_with_pefts_adapters(model, saved, narrow):
    """transformers' own way to load them refuses some versions of peft: peft is asked itself."""
    text = StableDiffusionPipeline.from_pretrained(narrow("sd1")).text_encoder
    adapt(text, "text_encoder", 1, 3, "one")
    ids = torch.arange(77)[None]
    encoder = encoder_of(model("sd1", lora=str(saved("one", 1))))
    plain = encoder_of(model("sd1"))
    with torch.no_grad():
        torch.testing.assert_close(encoder(ids)[0], text(ids)[0], atol=1e-4, rtol=1e-3)
        assert not torch.allclose(plain(ids)[0], text(ids)[0], atol=1e-2)


@pytest.mark.long
def test_a_single_scale_multiplies_every_lora(model, saved):
    path = str(saved("one", 1))
    whole, half = (ours(model("sd1", lora=path, lora_scale=s), model("sd1")) for s in (1.0, 0.5))
    for part, changes in whole.items():
        for name, change in changes.items():
            torch.testing.assert_close(half[part][name], change / 2, atol=1e-6, rtol=1e-4)


@pytest.mark.long
def test_keys_tell_loras_scales_and_their_files_apart(model, saved):
    one, two = str(saved("one", 1)), str(saved("two", 2))
    single = model("sd1", lora=one)
    assert single.base_hash() == model("sd1", lora=(one,), lora_scale=(1.0,)).base_hash()
    keys = {
        m.base_hash()
        for m in (
            model("sd1"),
            single,
            model("sd1", lora=two),
            model("sd1", lora=one, lora_scale=0.5),
            model("sd1", lora=(one, two)),
            model("sd1", lora=(one, two), lora_scale=(1.0, 0.7)),
            model("sd1", lora=(one, two), lora_scale=(0.7, 1.0)),
        )
    }
    assert len(keys) == 7


@pytest.mark.long
def test_scales_that_do_not_match_are_refused(model, saved):
    one, two = str(saved("one", 1)), str(saved("two", 2))
    for options, message in (
        ({"lora": (one, two), "lora_scale": (1.0,)}, "names 2 LoRAs and model.lora_scale 1"),
        ({"lora_scale": 0.5}, "names 0 LoRAs"),
        ({"lora": (one, one)}, "twice"),
    ):
        with pytest.raises(MiaError, match=message):
            model("sd1", **options).base_hash()


@pytest.mark.long
def test_text_encoders_in_every_form_are_hand_computed(model, tmp_path):
    """The 2023 keys of diffusers, its later ones, kohya's, and an adapter's name."""
    layer, generator = "text_model.encoder.layers.0.self_attn.q_proj", torch.Generator()
    down, up = torch.randn(2, 16, generator=generator), torch.randn(16, 2, generator=generator)
    block = layer.removesuffix(".q_proj")
    name = layer.replace(".", "_")
    forms = [
        (
            f"text_encoder.{block}.to_q_lora.down.weight",
            f"text_encoder.{block}.to_q_lora.up.weight",
        ),
        *[
            (f"{stem}{a}.weight", f"{stem}{b}.weight")
            for stem, a, b in (
                (f"text_encoder.{layer}.lora_linear_layer.", "down", "up"),
                (f"text_encoder.{layer}.", "lora_A.x", "lora_B.x"),
                (f"{layer}.", "lora_A", "lora_B"),
                (f"lora_te_{name}.", "lora_down", "lora_up"),
                (f"lora_te1_{name}.", "lora_down", "lora_up"),
            )
        ],
    ]
    for first, second in forms:
        save_file({first: down, second: up}, tmp_path / "text.safetensors")
        found = ours(model("sd1", lora=str(tmp_path / "text.safetensors")), model("sd1"))
        assert found["unet"] == {}
        ((_, change),) = found["text_encoder"].items()
        torch.testing.assert_close(change, up @ down, atol=1e-5, rtol=1e-4)


def test_a_part_that_the_model_has_not_is_named(model, tmp_path):
    layer = "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"
    state = {
        f"{layer}.lora_down.weight": torch.ones(2, 24),
        f"{layer}.lora_up.weight": torch.ones(24, 2),
    }
    save_file(state, tmp_path / "xl.safetensors")
    with pytest.raises(MiaError, match="holds adapters of a text_encoder_2"):
        model("sd1", lora=str(tmp_path / "xl.safetensors")).load_unet()


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_original_names_are_those_that_diffusers_converts(family, model):
    """Every layer that a LoRA can adapt: from our table through diffusers' converter and back."""
    unet = model(family).load_unet()
    names = [n for n, m in unet.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    names = [n for n in names if "_embedding" not in n]  # diffusers' converter cuts these apart
    layers = named_layers(unet)
    if family == "sd1":  # its converter is for SDXL, where every block that grows has attention
        assert layers["output_blocks_1_1_conv"][0] == "up_blocks.0.upsamplers.0.conv"
        names.remove("up_blocks.0.upsamplers.0.conv")
    for name in names:
        original = original_name(name, unet.config.layers_per_block, dict.fromkeys(names))
        assert layers[original.replace(".", "_")][0] == name
        key = "lora_unet_" + original.replace(".", "_")
        state = {f"{key}.lora_{w}.weight": torch.zeros(1, 1) for w in ("down", "up")}
        converted, _ = StableDiffusionXLPipeline.lora_state_dict(state, unet_config=unet.config)
        back = next(iter(converted)).removeprefix("unet.").replace(".processor.", ".")
        for stem in (".lora.down.weight", "_lora.down.weight"):
            back = back.removesuffix(stem)
        assert back.replace("to_out", "to_out.0").replace("_", ".") == name.replace("_", ".")


def test_kohyas_names_of_sdxl_are_applied_with_their_alphas(model, tmp_path):
    layers = {  # the original implementation's name -> diffusers', at one layer a block
        "input_blocks_3_1_transformer_blocks_0_attn2_to_k": (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
        ),
        "middle_block_1_transformer_blocks_1_ff_net_2": (
            "mid_block.attentions.0.transformer_blocks.1.ff.net.2"
        ),
        "output_blocks_1_2_conv": "up_blocks.0.upsamplers.0.conv",
        "output_blocks_5_0_skip_connection": "up_blocks.2.resnets.1.conv_shortcut",
        "input_blocks_2_0_op": "down_blocks.0.downsamplers.0.conv",
        "label_emb_0_2": "add_embedding.linear_2",
    }
    base = model("sdxl").load_unet()
    state, expected = {}, {}
    for i, (original, name) in enumerate(layers.items()):
        weight = base.get_parameter(f"{name}.weight")
        down = torch.randn(2, *weight.shape[1:])
        up = torch.randn(len(weight), 2, *(1 for _ in weight.shape[2:]))
        key, alpha = f"lora_unet_{original}", i + 0.5
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        state[f"{key}.alpha"] = torch.tensor(alpha)
        product = up.flatten(1) @ down.flatten(1)
        expected[f"{name}.weight"] = (alpha / 2 * product).view(weight.shape)
    save_file(state, tmp_path / "xl.safetensors")
    unet = model("sdxl", lora=str(tmp_path / "xl.safetensors")).load_unet()
    found = weights(unet, base)
    assert found.keys() == expected.keys()
    for name, change in expected.items():
        torch.testing.assert_close(found[name], change, atol=1e-4, rtol=1e-4)


def test_a_dora_is_neither_scaled_nor_shared(model, tmp_path):
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    state = {
        f"{name}.lora_down.weight": torch.ones(2, 8),
        f"{name}.lora_up.weight": torch.ones(8, 2),
    }
    save_file(state, tmp_path / "plain.safetensors")
    save_file({**state, f"{name}.dora_scale": torch.ones(8, 1)}, tmp_path / "dora.safetensors")
    dora, plain = str(tmp_path / "dora.safetensors"), str(tmp_path / "plain.safetensors")
    for options in ({"lora": dora, "lora_scale": 0.5}, {"lora": (plain, dora)}):
        with pytest.raises(MiaError, match=r"read alone and with model\.lora_scale=1"):
            model("sd1", **options).load_unet()
    save_file({**state, f"{name}.dora_scale": torch.ones(3, 1)}, tmp_path / "dora.safetensors")
    with pytest.raises(MiaError, match=r"magnitudes of .* are \[3, 1\]"):
        model("sd1", lora=dora).load_unet()


def test_tiny_takes_loras_from_the_command_line(experiment, tmp_path):
    one, two = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    run = experiment(f"model.lora=[{one},{two}]", "model.lora_scale=[1,0.7]")
    assert run.model.lora == (str(one), str(two))
    assert run.model.lora_scale == (1.0, 0.7)
    run = experiment(f"model.lora={one}", "model.lora_scale=0.5")
    assert (run.model.lora, run.model.lora_scale) == (str(one), 0.5)


@pytest.mark.long
def test_half_precision_adds_in_single(model, saved):
    path = str(saved("one", 1))
    half = replace(model("sd1", lora=path), dtype="bfloat16").load_unet()
    whole = model("sd1", lora=path).load_unet()
    assert half.dtype == torch.bfloat16
    for name, parameter in whole.named_parameters():
        close = half.get_parameter(name).float()
        torch.testing.assert_close(close, parameter, atol=2e-2, rtol=2e-2)


def test_settings_of_diffusers_are_read_by_part(saved):
    from safetensors import safe_open

    with safe_open(saved("one", alpha=3) / NAME, framework="pt") as handle:
        settings = json.loads(handle.metadata()["lora_adapter_metadata"])
    assert settings["unet.lora_alpha"] == settings["text_encoder.lora_alpha"] == 3
