"""Scales and magnitudes of a layer: alphas, ranks, settings of peft, DoRA's formula."""

from __future__ import annotations

import pytest
import torch
from lora_matrices import CONV, OUT, QUERY, answer, fused, injected, kohya, loaded, matrices, same
from peft import get_peft_model

from mia_bench.models.lora.files import PEFT_NAME, find_lora
from mia_bench.utils.errors import MiaError


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


def test_values_that_are_not_finite_are_named(unet, draw, tmp_path):
    layers = matrices(unet, draw, (QUERY,))
    layers[QUERY][0][0, 0] = torch.nan
    with pytest.raises(MiaError, match="to_q hold values that are not finite"):
        fused(unet, kohya(layers, {}), tmp_path / "lora.safetensors")
