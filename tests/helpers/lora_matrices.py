"""Matrices of a LoRA for a small U-Net, files of them, and what such a file changes."""

from __future__ import annotations

import copy

import torch
from safetensors.torch import save_file

from mia_bench.models.lora.training import load_lora

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"


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


def kohya(layers, alphas, prefix="lora_unet_"):
    state = {}
    for layer, (down, up) in layers.items():
        name = prefix + layer.replace(".", "_")
        state[f"{name}.lora_down.weight"], state[f"{name}.lora_up.weight"] = down, up
        if layer in alphas:
            state[f"{name}.alpha"] = torch.tensor(alphas[layer])
    return state


def answer(network):
    generator = torch.Generator().manual_seed(3)
    z, hidden = (torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 6, 16)))
    with torch.no_grad():
        return network(z, torch.tensor([10, 500]), encoder_hidden_states=hidden).sample


def loaded(tiny_unet, path):
    network = copy.deepcopy(tiny_unet)
    load_lora(network, path)
    return answer(network)


def injected(unet, config):
    unet.add_adapter(config, "style")
    return unet
