"""Networks from a single file.

diffusers' own loader turns names and shapes into its own; here it is checked that every tensor of
the file was used and that every tensor of a network came from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.models.readers.single_file import (
    PREFIXES,
    TEXT,
    WAY_OUT,
    input_channels,
    shapes,
)
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    import torch

# position numbers, and the scale of contrastive training
UNUSED_TEXT = re.compile(r".*(position_ids|logit_scale)")
RESBLOCK = re.compile(r".*\.resblocks\.(\d+)\..*")


def load_part(file: Path, kind: Any, part: str, folder: Path, dtype: torch.dtype) -> Any:
    """A part of `file` as the class `kind`, by diffusers' loader; configurations in `folder`.

    Raises:
        MiaError: the tensors of the part are not those of the network that `folder` describes.
    """
    tensors = _tensors(file, PREFIXES[part])
    common = {"torch_dtype": dtype, "local_files_only": True}
    try:
        if part in TEXT:
            from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

            network = create_diffusers_clip_model_from_ldm(
                kind, tensors, subfolder=part, config=str(folder), **common
            )
        else:
            own = {"in_channels": input_channels(file)} if part == "unet" else {}
            network = kind.from_single_file(
                tensors, config=str(folder), subfolder=part, **common, **own
            )
    except Exception as error:  # diffusers raises what it likes for another network
        first = str(error).partition("\n")[0]
        # what diffusers leaves empty it cannot move
        reason = "tensors of the network are missing in it." if "meta tensor" in first else first
        raise MiaError(f"cannot load the {part} of {file}: {reason} {WAY_OUT}") from error
    _check_used(file, part, tensors, network)
    return network.eval()


def _tensors(file: Path, prefixes: tuple[str, ...]) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        names = [name for name in shapes(file) if name.startswith(prefixes)]
        return {name: opened.get_tensor(name) for name in names}


def _check_used(file: Path, part: str, tensors: Mapping[str, Any], network: Any) -> None:
    """As many numbers as the network has came from the file, and none of them was left out.

    diffusers renames, cuts and turns tensors, so names cannot be compared; counts can.
    """
    state = network.state_dict()
    absent = sorted(name for name, tensor in state.items() if tensor.is_meta)
    used = sum(math.prod(tensors[name].shape) for name in _used(tensors, part, network))
    there = sum(tensor.numel() for tensor in state.values())
    if absent or used != there:
        lacking = f"{len(absent)} tensors are missing, such as {absent[0]}" if absent else "not all"
        raise MiaError(
            f"the {part} of {file} is not the network that its configurations describe: {used:,} "
            f"numbers in the file, {there:,} in the network ({lacking}). {WAY_OUT}"
        )


def _used(tensors: Mapping[str, Any], part: str, network: Any) -> Iterator[str]:
    """Names of the tensors that the network is made of; of a text encoder some are for others."""
    if part not in TEXT:
        yield from tensors
        return
    layers = network.config.num_hidden_layers
    projects = any("text_projection" in name for name in network.state_dict())
    for name in tensors:
        block = RESBLOCK.fullmatch(name)
        beyond = block is not None and int(block[1]) >= layers
        projection = name.endswith("text_projection") and not projects
        if not (beyond or projection or UNUSED_TEXT.fullmatch(name)):
            yield name
