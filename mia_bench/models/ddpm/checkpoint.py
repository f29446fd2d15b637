"""Checkpoints of the pytorch-ddpm code, which SecMI, PIA and their followers share, as UNet2DModel.

The file is a dictionary with the averaged weights under `ema_model`. Its network is that of Ho et
al. 2020 (arXiv 2006.11239) under names of its own; it differs from diffusers' in three ways:
attention projects by 1 x 1 convolutions, sine and cosine of the time embedding alternate where
diffusers has all sines first, and the table of embeddings is stored. Every tensor finds its place
or is named in an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mia_bench.utils.errors import MiaError
from mia_bench.utils.serialization import load_tensors

EMA = "ema_model"
TABLE = "time_embedding.timembedding.0.weight"
GROUPS = 32  # of every group normalisation of the layout
MAX_NAMED_KEYS = 6  # in a message
PLAIN = {  # parts outside the levels: their name, ours
    "head": "conv_in",
    "time_embedding.timembedding.1": "time_embedding.linear_1",
    "time_embedding.timembedding.3": "time_embedding.linear_2",
    "tail.0": "conv_norm_out",
    "tail.2": "conv_out",
}
RESIDUAL = {  # parts of a residual block
    "block1.0": "norm1",
    "block1.2": "conv1",
    "temb_proj.1": "time_emb_proj",
    "block2.0": "norm2",
    "block2.3": "conv2",
}
ATTENTION = {  # parts of an attention block
    "group_norm": "group_norm",
    "proj_q": "to_q",
    "proj_k": "to_k",
    "proj_v": "to_v",
    "proj": "to_out.0",
}


@dataclass(frozen=True)
class Layout:
    """The sizes of a network, read from the shapes of its tensors.

    Args:
        widths: channels per level; layers: residual blocks per level on the way down.
        attends: whether the blocks of a level attend.
        timesteps: rows of the stored table of time embeddings.
    """

    widths: tuple[int, ...]
    layers: int
    attends: tuple[bool, ...]
    timesteps: int

    def config(self) -> dict[str, Any]:
        """The arguments of `UNet2DModel`."""
        down = tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in self.attends)
        up = tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in self.attends[::-1])
        return {
            "in_channels": 3,
            "out_channels": 3,
            "freq_shift": 0,
            "flip_sin_to_cos": False,
            "block_out_channels": self.widths,
            "layers_per_block": self.layers,
            "down_block_types": down,
            "up_block_types": up,
            "attention_head_dim": None,
            "norm_num_groups": GROUPS,
            "norm_eps": 1e-5,
            "downsample_padding": 1,
        }


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The averaged weights of a file, without the prefix of DataParallel; nothing in it is run.

    Raises:
        MiaError: it cannot be read, holds more than tensors, or has no `ema_model`.
    """
    content = load_tensors(path)
    weights = content.get(EMA) if isinstance(content, dict) else None
    if not isinstance(weights, Mapping) or not all(isinstance(v, Tensor) for v in weights.values()):
        there = ", ".join(map(str, content)) if isinstance(content, dict) else "no dictionary"
        raise MiaError(
            f"{path} has no {EMA}, under which checkpoints of pytorch-ddpm keep their averaged "
            f"weights. It holds: {there[:200]}. Where those are the weights themselves, save "
            f"{{'{EMA}': them}}."
        )
    return {str(name).removeprefix("module."): value.float() for name, value in weights.items()}


def layout_of(weights: Mapping[str, Tensor], path: str) -> Layout:
    """Raises MiaError where the tensors are not those of the layout."""
    _require(weights, ["head.weight", TABLE], path)
    levels: list[list[int]] = [[]]
    attention: list[list[bool]] = [[]]
    for i in _blocks(weights, "downblocks"):
        if f"downblocks.{i}.main.weight" in weights:
            levels.append([])
            attention.append([])
            continue
        _require(weights, [f"downblocks.{i}.block1.2.weight"], path)
        levels[-1].append(len(weights[f"downblocks.{i}.block1.2.weight"]))
        attention[-1].append(f"downblocks.{i}.attn.proj.weight" in weights)
    uneven = any(len(set(level)) != 1 for level in levels) or len(set(map(len, levels))) != 1
    if uneven or any(len(set(level)) != 1 for level in attention):
        raise MiaError(
            f"{path} has levels of {levels} channels: in the layout of pytorch-ddpm every level "
            "has as many blocks as the others, of one width, which all attend or do not."
        )
    widths = tuple(level[0] for level in levels)
    attends = tuple(level[0] for level in attention)
    if widths[0] % len(weights["head.weight"]) or any(width % GROUPS for width in widths):
        raise MiaError(f"{path} has levels of {list(widths)} channels: not those of the layout.")
    return Layout(widths, len(levels[0]), attends, len(weights[TABLE]))


def layout_at(file: Path, path: str) -> Layout:
    """The layout of a file that can be read whole, remembered for as long as it is the same: a
    sweep plans many jobs on one file. Raises MiaError as `read_checkpoint` and `converted` do."""
    stat = file.stat()
    return _layout_at(file, path, (stat.st_size, stat.st_mtime_ns, stat.st_ino))


@cache
def _layout_at(file: Path, path: str, _stamp: tuple[int, ...]) -> Layout:
    return converted(read_checkpoint(file), path)[0]


def converted(weights: Mapping[str, Tensor], path: str) -> tuple[Layout, dict[str, Tensor]]:
    """The layout, and the tensors under the names of `UNet2DModel`.

    Raises:
        MiaError: tensors are missing or left over, which are named, or differ from the layout.
    """
    layout = layout_of(weights, path)
    if len(weights["head.weight"]) != layout.widths[0]:
        raise MiaError(
            f"{path} begins with {len(weights['head.weight'])} channels and its first level has "
            f"{layout.widths[0]}: a UNet2DModel has as many there."
        )
    places = dict(_places(layout, weights))
    _require(weights, places, path)
    if left_over := sorted(weights.keys() - places.keys() - {TABLE}):
        raise MiaError(
            f"{path} has {len(left_over)} tensors that have no place in the layout of "
            f"pytorch-ddpm: {_named(left_over)}."
        )
    _check_table(weights[TABLE], path)
    found = {ours: _adapted(theirs, weights[theirs]) for theirs, ours in places.items()}
    _check_shapes(layout, found, {ours: theirs for theirs, ours in places.items()}, path)
    return layout, found


def _check_shapes(
    layout: Layout, weights: Mapping[str, Tensor], theirs: Mapping[str, str], path: str
) -> None:
    """Every tensor has the shape of its place; `theirs`: its name in the file by ours."""
    from diffusers import UNet2DModel

    with torch.device("meta"):
        places = UNet2DModel(**layout.config()).state_dict()
    wrong = [name for name, value in weights.items() if value.shape != places[name].shape]
    if wrong:
        found, needed = (list(some[wrong[0]].shape) for some in (weights, places))
        raise MiaError(
            f"{path} has {len(wrong)} tensors of other shapes than the layout of pytorch-ddpm: "
            f"{theirs[wrong[0]]} is {found}, and {needed} is needed there. Its images or its "
            "network are others."
        )


def _adapted(name: str, value: Tensor) -> Tensor:
    """A tensor as diffusers has it."""
    if value.ndim == 4 and ".attn.proj" in name:
        return value[:, :, 0, 0]
    if name == "time_embedding.timembedding.1.weight":
        return torch.cat([value[:, 0::2], value[:, 1::2]], dim=1)  # sines first
    return value


def _places(layout: Layout, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """(their name, ours) of every tensor the layout has but the table."""
    yield from _both(PLAIN, "", "")
    levels, layers = len(layout.widths), layout.layers
    theirs = iter(range(10_000))
    for level in range(levels):
        for layer in range(layers):
            source, ours = f"downblocks.{next(theirs)}.", f"down_blocks.{level}."
            yield from _block(source, ours, layer, layout.attends[level], weights)
        if level < levels - 1:
            yield from _both({"main": "downsamplers.0.conv"}, f"downblocks.{next(theirs)}.", ours)
    yield from _block("middleblocks.0.", "mid_block.", 0, True, weights)
    yield from _block("middleblocks.1.", "mid_block.", 1, False, weights)
    theirs = iter(range(10_000))
    for k, level in enumerate(reversed(range(levels))):
        for layer in range(layers + 1):
            source, ours = f"upblocks.{next(theirs)}.", f"up_blocks.{k}."
            yield from _block(source, ours, layer, layout.attends[level], weights)
        if level > 0:
            yield from _both({"main": "upsamplers.0.conv"}, f"upblocks.{next(theirs)}.", ours)


def _block(
    theirs: str, ours: str, layer: int, attends: bool, weights: Mapping[str, Tensor]
) -> Iterator[tuple[str, str]]:
    """A residual block, with a projection where its width changes, and its attention."""
    yield from _both(RESIDUAL, theirs, f"{ours}resnets.{layer}.")
    first = weights.get(f"{theirs}block1.2.weight")
    if first is not None and first.shape[0] != first.shape[1]:
        yield from _both({"shortcut": "conv_shortcut"}, theirs, f"{ours}resnets.{layer}.")
    if attends:
        yield from _both(ATTENTION, f"{theirs}attn.", f"{ours}attentions.{layer}.")


def _both(names: Mapping[str, str], theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for source, place in names.items():
        for kind in ("weight", "bias"):
            yield f"{theirs}{source}.{kind}", f"{ours}{place}.{kind}"


def _blocks(weights: Mapping[str, Tensor], stack: str) -> list[int]:
    parts = (name.split(".") for name in weights if name.startswith(f"{stack}."))
    numbers = {int(part[1]) for part in parts if len(part) > 2 and part[1].isdecimal()}
    return sorted(numbers)


def _check_table(table: Tensor, path: str) -> None:
    """The stored embeddings are the usual ones: sin and cos of t / 10000^(2i / d) in turn."""
    timesteps, width = table.shape
    rates = torch.exp(-torch.arange(0, width, 2) / width * math.log(10_000))
    angles = torch.arange(timesteps)[:, None] * rates
    usual = torch.stack([angles.sin(), angles.cos()], dim=-1).view(timesteps, width)
    if not torch.allclose(table, usual, atol=1e-3):
        raise MiaError(f"{path} has another table of time embeddings, {TABLE}, which is not read.")


def _require(weights: Mapping[str, Tensor], names: Any, path: str) -> None:
    if missing := [name for name in names if name not in weights]:
        raise MiaError(
            f"{path} lacks {len(missing)} tensors of the layout of pytorch-ddpm: "
            f"{_named(missing)}. The file may be partial, or of another network."
        )


def _named(names: list[str]) -> str:
    rest = len(names) - MAX_NAMED_KEYS
    return ", ".join(names[:MAX_NAMED_KEYS]) + (f" and {rest} more" if rest > 0 else "")
