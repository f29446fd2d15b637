"""Every form a LoRA comes in, against matrices put together by hand or by the library it is of."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from mia_bench.models.lora import load_lora
from mia_bench.models.lora_files import NAME, PEFT_NAME, PEFT_SETTINGS, find_lora, read_lora
from mia_bench.utils.errors import MiaError

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"


@pytest.fixture
def unet(tiny_unet):
    return copy.deepcopy(tiny_unet)


@pytest.fixture
def draw():
    """draw(*shape): the next random matrix."""
    generator = torch.Generator().manual_seed(7)
    return lambda *shape: torch.randn(shape, generator=generator)


def added(network, base):
    """{layer: what was added to its weight}, where anything was."""
    before = dict(base.named_parameters())
    changes = {n: p.detach() - before[n].detach() for n, p in network.named_parameters()}
    return {n.removesuffix(".weight"): c for n, c in changes.items() if c.abs().max() > 0}


def matrices(unet, draw, layers=(QUERY, OUT), rank=2):
    """{layer: (down, up)} of the shapes of these layers."""
    shapes = {name: dict(unet.named_parameters())[f"{name}.weight"].shape for name in layers}
    return {n: (draw(rank, *shape[1:]), draw(shape[0], rank)) for n, shape in shapes.items()}


def fused(unet, state, path, metadata=None):
    save_file({k: v.contiguous() for k, v in state.items()}, path, metadata)
    network = copy.deepcopy(unet)
    load_lora(network, path)
    return added(network, unet)


def same(changes, expected):
    assert changes.keys() == expected.keys()
    for name, change in expected.items():
        torch.testing.assert_close(changes[name], change, atol=1e-5, rtol=1e-4)


FORMS = {  # key of the down matrix and of the up matrix of a layer
    "diffusers": ("unet.{}.lora_A.weight", "unet.{}.lora_B.weight"),
    "adapter_default_0": ("unet.{}.lora_A.default_0.weight", "unet.{}.lora_B.default_0.weight"),
    "adapter_of_any_name": ("unet.{}.lora_A.my-cat_2.weight", "unet.{}.lora_B.my-cat_2.weight"),
    "own_of_a_network": ("{}.lora_A.weight", "{}.lora_B.weight"),
    "diffusers_2023_summer": ("unet.{}.lora.down.weight", "unet.{}.lora.up.weight"),
    "kohya_with_dots": ("unet.{}.lora_down.weight", "unet.{}.lora_up.weight"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_key_is_applied(form, unet, draw, tmp_path):
    down_key, up_key = FORMS[form]
    layers = matrices(unet, draw)
    state = {}
    for layer, (down, up) in layers.items():
        state |= {down_key.format(layer): down, up_key.format(layer): up}
    changes = fused(unet, state, tmp_path / "lora.safetensors")
    same(changes, {layer: up @ down for layer, (down, up) in layers.items()})


@pytest.mark.parametrize("prefix", ["unet.", ""])
def test_the_first_form_of_diffusers_is_applied(prefix, unet, draw, tmp_path):
    layers = matrices(unet, draw)
    state = {}
    for layer, (down, up) in layers.items():
        block, _, kind = layer.removesuffix(".0").rpartition(".")
        for which, matrix in (("down", down), ("up", up)):
            state[f"{prefix}{block}.processor.{kind}_lora.{which}.weight"] = matrix
    changes = fused(unet, state, tmp_path / "lora.safetensors")
    same(changes, {layer: up @ down for layer, (down, up) in layers.items()})


def kohya(layers, alphas, prefix="lora_unet_"):
    state = {}
    for layer, (down, up) in layers.items():
        name = prefix + layer.replace(".", "_")
        state[f"{name}.lora_down.weight"], state[f"{name}.lora_up.weight"] = down, up
        if layer in alphas:
            state[f"{name}.alpha"] = torch.tensor(alphas[layer])
    return state


def test_every_layer_of_kohya_has_its_own_alpha_and_rank(unet, draw, tmp_path):
    layers = {**matrices(unet, draw, (QUERY, CONV), 2), **matrices(unet, draw, (OUT,), 4)}
    down, up = layers[CONV]
    layers[CONV] = down, up[:, :, None, None]
    changes = fused(
        unet, kohya(layers, {QUERY: 1.0, CONV: 6.0, OUT: 3.0}), tmp_path / "lora.safetensors"
    )
    expected = {
        QUERY: 1 / 2 * layers[QUERY][1] @ layers[QUERY][0],
        CONV: 6 / 2 * torch.einsum("or,rikl->oikl", up, down),
        OUT: 3 / 4 * layers[OUT][1] @ layers[OUT][0],
    }
    same(changes, expected)


def test_a_layer_of_kohya_without_alpha_has_a_scale_of_one(unet, draw, tmp_path):
    layers = matrices(unet, draw)
    changes = fused(unet, kohya(layers, {QUERY: 0.5}), tmp_path / "lora.safetensors")
    scales = {QUERY: 0.25, OUT: 1.0}
    same(changes, {layer: scales[layer] * up @ down for layer, (down, up) in layers.items()})


@pytest.mark.parametrize("of", ["outputs", "outputs_flat", "inputs"])
def test_kohyas_dora_is_the_papers_formula(of, unet, draw, tmp_path):
    layers = matrices(unet, draw, (QUERY, CONV))
    down, up = layers[CONV]
    layers[CONV] = down, up[:, :, None, None]
    state, expected = kohya(layers, {QUERY: 1.0, CONV: 1.0}), {}
    for layer, (down, up) in layers.items():
        weight = unet.get_parameter(f"{layer}.weight").detach()
        outputs, inputs, *rest = weight.shape
        whole = weight + 0.5 * torch.einsum("or...,ri...->oi...", up, down)
        m = (draw(inputs) if of == "inputs" else draw(outputs)).abs()
        new = torch.empty_like(whole)
        for i in range(len(m)):  # literally: one row, or one column, after the other
            if of == "inputs":
                new[:, i] = m[i] * whole[:, i] / whole[:, i].square().sum().sqrt()
            else:
                new[i] = m[i] * whole[i] / whole[i].square().sum().sqrt()
        shapes = {"outputs": (outputs, 1), "inputs": (1, inputs)}
        shape = (*shapes[of], *(1 for _ in rest)) if of in shapes else (outputs,)
        state[f"lora_unet_{layer.replace('.', '_')}.dora_scale"] = m.view(shape)
        expected[layer] = new - weight
    same(fused(unet, state, tmp_path / "lora.safetensors"), expected)


SETTINGS = {
    "plain": {"lora_alpha": 3},
    "rank_stabilised": {"lora_alpha": 3, "use_rslora": True},
    "patterns": {
        "lora_alpha": 1,
        "alpha_pattern": {"attn2.to_q": 5, "to_out.0": 0.5},
        "rank_pattern": {"attn2.to_q": 3},
    },
    "dora": {"lora_alpha": 3, "use_dora": True},
}


@pytest.fixture
def trained(tiny_unet, draw):
    """trained(wrap, **settings): a U-Net with adapters of peft, none of them zero."""

    def make(wrap, **settings):
        config = LoraConfig(r=2, target_modules=["to_q", "to_out.0", "conv1"], **settings)
        network = wrap(copy.deepcopy(tiny_unet), config)
        for name, parameter in network.named_parameters():
            if "lora_B" in name or "magnitude" in name:
                parameter.data = draw(*parameter.shape).abs()
        return network.eval()

    return make


def injected(unet, config):
    unet.add_adapter(config, "style")
    return unet


def answer(network):
    generator = torch.Generator().manual_seed(3)
    z, hidden = (torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 6, 16)))
    with torch.no_grad():
        return network(z, torch.tensor([10, 500]), encoder_hidden_states=hidden).sample


def loaded(tiny_unet, path):
    network = copy.deepcopy(tiny_unet)
    load_lora(network, path)
    return answer(network)


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_a_unet_saves_of_its_adapter_answers_as_it_did(settings, trained, tiny_unet, tmp_path):
    network = trained(injected, **SETTINGS[settings])
    expected = answer(network)
    assert not torch.allclose(expected, answer(tiny_unet), atol=1e-2)
    network.save_lora_adapter(tmp_path, adapter_name="style")
    torch.testing.assert_close(loaded(tiny_unet, tmp_path), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_folder_of_peft_answers_as_its_network_did(settings, trained, tiny_unet, tmp_path):
    network = trained(get_peft_model, **SETTINGS[settings])
    expected = answer(network)
    network.save_pretrained(tmp_path)
    assert find_lora(tmp_path) == tmp_path / PEFT_NAME
    torch.testing.assert_close(loaded(tiny_unet, tmp_path), expected, atol=1e-4, rtol=1e-3)


def test_folders_of_peft_by_part_are_one_lora(trained, tiny_unet, tmp_path):
    network = trained(get_peft_model, lora_alpha=3)
    network.save_pretrained(tmp_path / "unet")
    network.save_pretrained(tmp_path / "text_encoder")
    adapters = read_lora(tmp_path)
    assert adapters.layers.keys() == {"unet", "text_encoder"}
    assert len(adapters.layers["unet"]) == len(adapters.layers["text_encoder"]) > 0
    with pytest.raises(MiaError, match="holds adapters of a text_encoder"):
        load_lora(copy.deepcopy(tiny_unet), tmp_path)


def test_a_file_of_peft_needs_its_settings(trained, tiny_unet, tmp_path):
    trained(get_peft_model, lora_alpha=3).save_pretrained(tmp_path)
    settings = tmp_path / PEFT_SETTINGS
    written = json.loads(settings.read_text())
    for change, message in (
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa, which changes the base"),
        ({"fan_in_fan_out": True}, "transposed"),
        ({"peft_type": "LOHA"}, "kind LOHA"),
        ({"use_dora": True}, "lacks the magnitude matrix"),
        ({"alpha_pattern": {"(": 1}}, "cannot read the alphas"),
        ({"lora_alpha": 0}, "alpha of .* is 0"),
    ):
        settings.write_text(json.dumps({**written, **change}))
        with pytest.raises(MiaError, match=message):
            read_lora(tmp_path)
    settings.write_text("[1]")
    with pytest.raises(MiaError, match="no JSON object"):
        read_lora(tmp_path)
    settings.unlink()
    with pytest.raises(MiaError, match=rf"{PEFT_SETTINGS} is not beside it"):
        load_lora(tiny_unet, tmp_path)


STRANGE = {  # one key that has no place in a LoRA of the U-Net -> what is said
    "unet.conv_norm_out.weight": "are none of its matrices, such as unet.conv_norm_out.weight",
    f"unet.{QUERY}.lora_B.bias": r"such as unet\..*lora_B\.bias",
    f"unet.{QUERY}.hada_w1_a": "another kind of adapter",
    f"lora_unet_{QUERY.replace('.', '_')}.lora_mid.weight": "lora_mid",
    "unet.nowhere.to_q.lora_A.weight": r"lacks the up matrix of nowhere\.to_q",
    f"unet.{OUT}.alpha": "lacks the down and up matrix",
    f"unet.{QUERY}.lora_A.other.weight": r"holds 2 adapters \(other, style\)",
}


@pytest.mark.parametrize("key", STRANGE)
def test_what_finds_no_place_is_named(key, unet, draw, tmp_path):
    ((layer, (down, up)),) = matrices(unet, draw, (QUERY,)).items()
    state = {f"unet.{layer}.lora_{n}.style.weight": m for n, m in (("A", down), ("B", up))}
    with pytest.raises(MiaError, match=STRANGE[key]):
        fused(unet, {**state, key: torch.ones(2, 2)}, tmp_path / "lora.safetensors")


@pytest.mark.parametrize("layer", ["nowhere.to_q", "conv_norm_out", CONV])
def test_a_layer_that_is_not_there_is_named(layer, unet, draw, tmp_path):
    layers = {**matrices(unet, draw, (QUERY,)), layer: (draw(2, 5), draw(8, 2))}
    state = kohya(layers, {})
    name = layer.replace(".", "_")
    with pytest.raises(MiaError, match=rf"1 of its 2 layers have no place .* such as {name}"):
        fused(unet, state, tmp_path / "lora.safetensors")


def test_values_that_are_not_finite_are_named(unet, draw, tmp_path):
    layers = matrices(unet, draw, (QUERY,))
    layers[QUERY][0][0, 0] = torch.nan
    with pytest.raises(MiaError, match="to_q hold values that are not finite"):
        fused(unet, kohya(layers, {}), tmp_path / "lora.safetensors")


def test_our_own_file_is_peft_through_diffusers_to_the_bit(trained, tiny_unet, tmp_path):
    """Adapters that earlier versions fused through peft give the very weights they gave."""
    network = trained(injected, lora_alpha=2)
    state = get_peft_model_state_dict(network, adapter_name="style")
    save_file({f"unet.{k}": v.contiguous() for k, v in state.items()}, tmp_path / NAME)
    reference, ours = copy.deepcopy(tiny_unet), copy.deepcopy(tiny_unet)
    reference.load_lora_adapter(load_file(tmp_path / NAME), prefix="unet")
    reference.fuse_lora()
    reference.unload_lora()
    load_lora(ours, tmp_path)
    linear = [n for n, p in ours.named_parameters() if p.dim() == 2]
    assert all(torch.equal(ours.get_parameter(n), reference.get_parameter(n)) for n in linear)
