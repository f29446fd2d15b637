"""Single files of the original layout, made of diffusers' networks by renaming their tensors.

The names are written down here from the original implementations (ldm, open_clip), so that a loader
that renames them back is compared with something that does not share its tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mia_bench.models.lora.fusion import OUTSIDE_BLOCKS, original_name

ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out", "group_norm": "norm"}
CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def weights_of(folder: Path, part: str) -> dict[str, Tensor]:
    return {
        name: tensor
        for file in sorted((folder / part).glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def unet(state: dict[str, Tensor], per_block: int) -> dict[str, Tensor]:
    layers = {name.rpartition(".")[0]: None for name in state}
    named = {"conv_norm_out": "out.0", **OUTSIDE_BLOCKS}
    new = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        other = named.get(layer) or original_name(layer, per_block, layers)
        assert other is not None, name
        new[f"model.diffusion_model.{other}.{kind}"] = tensor
    return new


def autoencoder(state: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    new = {}
    for name, tensor in state.items():
        other = name.replace("mid_block.resnets.0", "mid.block_1").replace(
            "mid_block.resnets.1", "mid.block_2"
        )
        other = other.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        other = other.replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
        for i in range(blocks):
            other = other.replace(f"down_blocks.{i}.", f"down.{i}.")
            other = other.replace(f"up_blocks.{i}.", f"UP.{blocks - 1 - i}.")
        other = other.replace("UP.", "up.").replace("resnets.", "block.")
        if "mid_block.attentions.0" in other:
            for ours, theirs in ATTENTION.items():
                other = other.replace(f"attentions.0.{ours}.", f"attn_1.{theirs}.")
            other = other.replace("mid_block.", "mid.")
            if tensor.dim() == 2:  # a convolution there
                tensor = tensor[:, :, None, None]
        new[f"first_stage_model.{other}"] = tensor.contiguous()
    return new


def clip(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    length = next(t for n, t in state.items() if n.endswith("position_embedding.weight")).shape[0]
    new = {f"{prefix}text_model.{n.removeprefix('text_model.')}": t for n, t in state.items()}
    return {**new, f"{prefix}text_model.embeddings.position_ids": torch.arange(length)[None]}


def open_clip(state: dict[str, Tensor], prefix: str, extra_layer: bool) -> dict[str, Tensor]:
    """With `extra_layer`: the last one, which Stable Diffusion 2 does not use."""
    state = {n.removeprefix("text_model."): t for n, t in state.items()}
    width = state["final_layer_norm.weight"].shape[0]
    new = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "logit_scale": torch.tensor(4.6),
        "text_projection": state.get("text_projection.weight", torch.eye(width)).T,
    }
    layers = 1 + max(int(n.split(".")[2]) for n in state if n.startswith("encoder.layers."))
    for i in range(layers + extra_layer):
        source = f"encoder.layers.{min(i, layers - 1)}."
        block = f"transformer.resblocks.{i}."
        for kind in ("weight", "bias"):
            new |= {
                f"{block}{theirs}.{kind}": state[f"{source}{ours}.{kind}"]
                for ours, theirs in CLIP_LAYER.items()
            }
            heads = [state[f"{source}self_attn.{h}_proj.{kind}"] for h in "qkv"]
            new[f"{block}attn.in_proj_{kind}"] = torch.cat(heads)
    return {f"{prefix}{name}": tensor.contiguous().clone() for name, tensor in new.items()}


def single_file(folder: Path, family: str, path: Path, **more: Any) -> Path:
    """The pipeline in `folder` ("sd1", "sd2" or "sdxl") as one file; `more`: further tensors."""
    tensors = {
        **unet(weights_of(folder, "unet"), per_block=1),
        **autoencoder(weights_of(folder, "vae"), blocks=4),
    }
    text = weights_of(folder, "text_encoder")
    if family == "sd1":
        tensors |= clip(text, "cond_stage_model.transformer.")
    elif family == "sd2":
        tensors |= open_clip(text, "cond_stage_model.model.", extra_layer=True)
    else:
        second = weights_of(folder, "text_encoder_2")
        tensors |= clip(text, "conditioner.embedders.0.transformer.")
        tensors |= open_clip(second, "conditioner.embedders.1.model.", extra_layer=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {name: t.clone().contiguous() for name, t in {**tensors, **more}.items()}
    save_file(own, path)
    return path
