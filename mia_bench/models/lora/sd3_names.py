"""kohya's words for the layers of Stable Diffusion 3, which diffusers does not convert.

Its trainer adapts the original implementation (MMDiT): a block has one stream for the image
(x_block) and one for the text (context_block), with fused projections of query, key and value. [K]:
names of the original checkpoint as diffusers' own script for whole checkpoints maps them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

PREFIX = "lora_unet_"
BLOCK = re.compile(r"joint_blocks_(\d+)_(x|context)_block_(.+)")
FUSED = {  # stream and layer -> the three that it holds one above the other
    ("x", "attn_qkv"): ("attn.to_q", "attn.to_k", "attn.to_v"),
    ("x", "attn2_qkv"): ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    ("context", "attn_qkv"): ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
SINGLE = {
    ("x", "attn_proj"): "attn.to_out.0",
    ("x", "attn2_proj"): "attn2.to_out.0",
    ("x", "mlp_fc1"): "ff.net.0.proj",
    ("x", "mlp_fc2"): "ff.net.2",
    ("x", "adaLN_modulation_1"): "norm1.linear",
    ("context", "attn_proj"): "attn.to_add_out",
    ("context", "mlp_fc1"): "ff_context.net.0.proj",
    ("context", "mlp_fc2"): "ff_context.net.2",
    ("context", "adaLN_modulation_1"): "norm1_context.linear",
}
OUTSIDE_BLOCKS = {
    "context_embedder": "context_embedder",
    "t_embedder_mlp_0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder_mlp_2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder_mlp_0": "time_text_embed.text_embedder.linear_1",
    "y_embedder_mlp_2": "time_text_embed.text_embedder.linear_2",
    "final_layer_linear": "proj_out",
    "final_layer_adaLN_modulation_1": "norm_out.linear",
}
TWO_PARTS = 2
"""Outputs per input of a modulation that holds shift above scale; diffusers has scale first."""


def convert_sd3(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of kohya's file with diffusers' names; text encoders' are left as they are.

    Raises:
        ValueError: names the first layer that SD3 does not have.
    """
    converted: dict[str, Tensor] = {}
    for key, tensor in state.items():
        stem, _, kind = key.partition(".")
        if not stem.startswith(PREFIX):
            converted[key] = tensor
            continue
        width = _inputs(state, stem)
        for layer, part in _pieces(stem.removeprefix(PREFIX), kind, tensor, width):
            converted[f"transformer.{layer}.{kind}"] = part
    return converted


def _inputs(state: Mapping[str, Tensor], stem: str) -> int:
    down = state.get(f"{stem}.lora_down.weight")
    return 0 if down is None else down.shape[1]


def _pieces(name: str, kind: str, tensor: Tensor, width: int) -> Iterator[tuple[str, Tensor]]:
    """(layer, its part of `tensor`); of a fused layer the outputs are cut, the rest is shared."""
    match = BLOCK.fullmatch(name)
    place = (match[2], match[3]) if match else ("", name)
    block = f"transformer_blocks.{match[1]}." if match else ""
    is_up = kind == "lora_up.weight"
    if place in FUSED:
        parts = tensor.chunk(3) if is_up else (tensor,) * 3
        yield from zip((block + layer for layer in FUSED[place]), parts, strict=True)
        return
    layer = SINGLE.get(place) or OUTSIDE_BLOCKS.get("" if match else name)
    if layer is None:
        raise ValueError(f"{PREFIX}{name} is no layer of Stable Diffusion 3")
    if is_up and layer.startswith(("norm1", "norm_out")) and len(tensor) == TWO_PARTS * width:
        shift, scale = tensor.chunk(2)
        tensor = torch.cat([scale, shift])
    yield block + layer, tensor
