"""Every form of a key, against matrices put together by hand."""

from __future__ import annotations

import pytest
import torch
from lora_matrices import CONV, OUT, QUERY, fused, kohya, matrices, same
from safetensors.torch import save_file

from mia_bench.models.lora.files import read_lora
from mia_bench.utils.errors import MiaError

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


SAME_LAYER = [  # of one matrix, two keys
    (f"unet.{QUERY}.lora_A.weight", f"unet.{QUERY}.lora.down.weight"),
    (f"unet.{QUERY}.lora_A.weight", f"unet.{QUERY}.lora_A.default_0.weight"),
    (f"unet.{QUERY}.lora_A.weight", f"lora_unet_{QUERY.replace('.', '_')}.lora_down.weight"),
    (f"unet.{OUT}.lora_A.weight", f"unet.{OUT.removesuffix('.0')}.lora_A.weight"),
]


@pytest.mark.parametrize("keys", SAME_LAYER)
def test_a_matrix_that_is_there_twice_is_refused(keys, draw, tmp_path):
    def other(key):
        for down, up in (("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora.down", "lora.up")):
            key = key.replace(down, up)
        return key

    state = {key: draw(2, 4) for key in keys} | {other(key): draw(4, 2) for key in keys}
    save_file(state, tmp_path / "lora.safetensors")
    with pytest.raises(MiaError, match=r"matrix of .* twice, once as .* and once as"):
        read_lora(tmp_path / "lora.safetensors")
