"""Other trainers' words for the layers of a transformer, converted to diffusers'."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from mia_bench.utils.errors import MiaError

FOREIGN = ("lora_unet_", "lora_te", "diffusion_model.", "double_blocks.", "single_blocks.")


def converted(file: Path, state: dict[str, Tensor], pipeline: str) -> dict[str, Tensor]:
    """The matrices in the words of diffusers' transformer, by its own converters, which know what
    kohya and others call the layers of each family (fused projections are cut).

    Raises:
        MiaError: what the converter would leave out, or does not know.
    """
    import diffusers

    if lost := [key for key in state if "dora_scale" in key]:
        raise MiaError(
            f"{file} is a DoRA in another trainer's words ({lost[0]}): converting it would leave "
            "its magnitudes out. Save it from diffusers."
        )
    convert = getattr(getattr(diffusers, pipeline), "lora_state_dict", None)
    if convert is None:
        return state
    try:
        found = convert(dict(state))
    except (ValueError, KeyError, NotImplementedError, AttributeError, IndexError) as error:
        raise MiaError(
            f"{file} is a LoRA of another network than a {pipeline}'s, or of a trainer whose words "
            f"are not known: {str(error).strip().splitlines()[0][:200]}"
        ) from error
    converted: dict[str, Tensor] = found[0] if isinstance(found, tuple) else found
    return converted
