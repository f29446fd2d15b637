"""Other trainers' words for the layers of a transformer, converted to diffusers'."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mia_bench.models.lora.sd3_names import PREFIX, convert_sd3
from mia_bench.utils.errors import MiaError

FOREIGN = ("lora_unet_", "lora_te", "diffusion_model.", "double_blocks.", "single_blocks.")
UP_MATRIX = re.compile(r".+\.(lora_up|lora_B|lora\.up)(\.[^.]+)?\.weight")


def converted(file: Path, state: dict[str, Tensor], pipeline: str) -> dict[str, Tensor]:
    """The matrices in the words of diffusers' transformer: by its own converters, which know what
    kohya and others call the layers of each family, or for Stable Diffusion 3 by ours. Fused
    projections are cut.

    Raises:
        MiaError: what the converter would leave out, or does not know.
    """
    if lost := [key for key in state if "dora_scale" in key]:
        raise MiaError(
            f"{file} is a DoRA in another trainer's words ({lost[0]}): converting it would leave "
            "its magnitudes out. Save it from diffusers."
        )
    convert = _converter(state, pipeline)
    if convert is None:
        return state
    try:
        found = convert(dict(state))
    except (ValueError, KeyError, NotImplementedError, AttributeError, IndexError) as error:
        raise MiaError(
            f"{file} is a LoRA of another network than a {pipeline}'s, or of a trainer whose words "
            f"are not known: {str(error).strip().splitlines()[0][:200]}"
        ) from error
    matrices: dict[str, Tensor] = found[0] if isinstance(found, tuple) else found
    before, after = outputs(state), outputs(matrices)
    if before != after:
        raise MiaError(
            f"{file} adapts {before:,} outputs of layers, and after conversion to the words of a "
            f"{pipeline} {after:,} are left: some of its layers are not known, and the file is "
            "not used. Save it from diffusers."
        )
    return matrices


def _converter(state: Mapping[str, Tensor], pipeline: str) -> Callable[..., Any] | None:
    import diffusers

    if pipeline == "StableDiffusion3Pipeline" and any(key.startswith(PREFIX) for key in state):
        return convert_sd3
    convert: Callable[..., Any] | None = getattr(
        getattr(diffusers, pipeline), "lora_state_dict", None
    )
    return convert


def outputs(state: Mapping[str, Tensor]) -> int:
    """Outputs of all layers together, which cutting a fused layer does not change."""
    return sum(len(tensor) for key, tensor in state.items() if UP_MATRIX.fullmatch(key))
