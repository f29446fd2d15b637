"""Adapters are added to the weights they adapt: a fused network is as fast as a plain one.

For a layer W with matrices A (down) and B (up), of rank r:

    LoRA   W' = W + s alpha / r B A                        (Hu et al. 2022, arXiv 2106.09685)
    DoRA   W' = m V / ||V||,  V = W + alpha / r B A        (Liu et al. 2024, arXiv 2402.09353)

s is the user's own scale; ||V|| is taken per output, or per input where m says so (LyCORIS). Layers
are found by their names with underscores for dots, which every trainer's names come down to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.models.lora.matrices import Adapters, LowRank
from mia_bench.utils.errors import MiaError

RESNET = {  # names inside a residual block, diffusers' and the original implementation's
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}


@torch.no_grad()
def fuse(network: nn.Module, part: str, adapters: Sequence[tuple[Adapters, float]]) -> int:
    """Add what (adapters, scale) hold of `part` to `network` in place; how many layers changed.

    Raises:
        MiaError: matrices that find no layer of their shape, by name; a DoRA that would have to
            share a layer or be scaled, which its readers do in different ways.
    """
    layers = named_layers(network)
    updates: dict[str, list[tuple[Adapters, LowRank, float]]] = {}
    for lora, scale in adapters:
        _check_places(lora, part, layers)
        for name, update in lora.layers.get(part, {}).items():
            updates.setdefault(layers[name][0], []).append((lora, update, scale))
    modules = dict(network.named_modules())
    for name, several in updates.items():
        weight = modules[name].get_parameter("weight")
        weight.copy_(_fused(weight, several))
    return len(updates)


def check_places(network: nn.Module, part: str, adapters: Sequence[Adapters]) -> None:
    """Raises MiaError where updates of `part` have no layer of their shape in `network`, whose
    weights are not read and may be on the meta device."""
    layers = named_layers(network)
    for lora in adapters:
        _check_places(lora, part, layers)


def _check_places(lora: Adapters, part: str, layers: Mapping[str, tuple[str, torch.Size]]) -> None:
    """Every update has a layer whose weight has its shape."""
    updates = lora.layers.get(part, {})
    lost = [
        update.name
        for name, update in updates.items()
        if name not in layers or not _fits(update, layers[name][1])
    ]
    if lost:
        raise MiaError(
            f"{lora.path} is a LoRA of another {part}: {len(lost)} of its {len(updates)} layers "
            f"have no place of their shape in this model, such as {lost[0]}. Name the model that "
            "it was trained on by model.path, or leave model.lora out."
        )


def _fits(update: LowRank, shape: torch.Size) -> bool:
    inputs = update.down.flatten(1).shape[1]
    return len(update.up) == shape[0] and inputs == shape[1:].numel()


def _fused(weight: Tensor, several: Sequence[tuple[Adapters, LowRank, float]]) -> Tensor:
    total = weight.float()
    for lora, update, scale in several:
        product = update.up.flatten(1) @ update.down.flatten(1)
        total = total + (product * (update.scale * scale)).view(weight.shape).to(total)
        if update.magnitude is None:
            continue
        if len(several) > 1 or scale != 1:
            raise MiaError(
                f"{lora.path} is a DoRA, whose norm is of the whole layer ({update.name}): it is "
                "read alone and with model.lora_scale=1, because programs disagree on the rest."
            )
        total = _with_norms(lora, update, total)
    return total.to(weight)


def _with_norms(lora: Adapters, update: LowRank, total: Tensor) -> Tensor:
    """m V / ||V|| of DoRA; the form of m says which norms it stands for."""
    magnitude, (outputs, inputs) = update.magnitude, total.shape[:2]
    assert magnitude is not None
    rest = [1] * (total.dim() - 2)
    if magnitude.numel() == len(magnitude) == outputs:
        axis, form = 0, (outputs, 1, *rest)
    elif magnitude.numel() == inputs and magnitude.shape[:2] == (1, inputs):
        axis, form = 1, (1, inputs, *rest)
    else:
        raise MiaError(
            f"{lora.path}: the magnitudes of {update.name} are {list(magnitude.shape)}, which is "
            f"neither one for each of {outputs} outputs nor for each of {inputs} inputs."
        )
    norms = total.transpose(0, axis).flatten(1).norm(dim=1).view(form)
    normed: Tensor = total * (magnitude.to(total).view(form) / norms)
    return normed


def named_layers(network: nn.Module) -> dict[str, tuple[str, torch.Size]]:
    """Name with underscores -> (name in `network`, shape of the weight), for every name that a
    trainer may use for a linear or convolutional layer."""
    config: Any = getattr(network, "config", None)
    names = {
        name: layer.weight.shape
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
    layers: dict[str, tuple[str, torch.Size]] = {}
    per_block = getattr(config, "layers_per_block", None)
    for name, shape in names.items():
        aliases = [name, f"text_model.{name}"]  # where transformers dropped the prefix
        if isinstance(per_block, int) and (other := original_name(name, per_block, names)):
            aliases.append(other)
        for alias in aliases:
            layers.setdefault(alias.replace(".", "_"), (name, shape))
    return layers


def original_name(name: str, per_block: int, names: Mapping[str, Any]) -> str | None:
    """A U-Net layer of diffusers in the words of the original implementation, which kohya's
    trainer uses for SDXL. `names` tells which blocks have attention; None where there is none."""
    if name in OUTSIDE_BLOCKS:
        return OUTSIDE_BLOCKS[name]
    if match := re.fullmatch(r"mid_block\.(\w+\.\d+)\.(.+)", name):
        return f"middle_block.{MIDDLE.get(match[1], match[1])}.{_inside(match[2])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if match is None:
        return None
    way, block, kind, place, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    first = block * (per_block + 1) + place
    stem = f"input_blocks.{first + 1}" if way == "down" else f"output_blocks.{first}"
    if kind in ("resnets", "attentions"):
        return f"{stem}.{0 if kind == 'resnets' else 1}.{_inside(rest)}"
    if kind == "downsamplers":
        return f"input_blocks.{first + 1 + per_block}.0.op"
    attention = any(other.startswith(f"up_blocks.{block}.attentions.") for other in names)
    return f"output_blocks.{first + per_block}.{2 if attention else 1}.{rest}"


def _inside(rest: str) -> str:
    return RESNET.get(rest, rest)
