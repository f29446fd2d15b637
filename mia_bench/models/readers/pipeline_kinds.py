"""Which pipelines hold the plain networks of Stable Diffusion, and which only look as if.

A pipeline's class in model_index.json says what its networks are used for. Image-to-image,
in-painting and PAG pipelines are saved with the same networks as text-to-image. ControlNets,
refiners, upscalers and distilled models are asked with more than an image and its caption, and are
refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mia_bench.models.readers.refusals import refuse_pipeline
from mia_bench.utils.errors import MiaError

SD, SDXL = "StableDiffusion", "StableDiffusionXL"
ENCODERS = {SD: ("text_encoder",), SDXL: ("text_encoder", "text_encoder_2")}
TASKS = ("", "Img2Img", "Inpaint", "PAG", "PAGImg2Img", "PAGInpaint")
FAMILY_OF = {f"{family}{task}Pipeline": family for family in ENCODERS for task in TASKS}
ASKED_WITH_MORE = {  # options of a U-Net that takes more than text_time's sizes and pooled text
    "class_embed_type": "a class embedding",
    "num_class_embeds": "a class or a noise level",
    "time_cond_proj_dim": "a guidance scale, as distilled models do",
    "encoder_hid_dim_type": "image embeddings",
}


def pipeline_name(family: str) -> str:
    """The class of a family's text-to-image pipeline."""
    return f"{family}Pipeline"


def family_of(index: Mapping[str, Any], path: str) -> str:
    """The family (SD or SDXL) of a model by its model_index.json.

    Raises:
        MiaError: a pipeline whose networks are not those of a text-to-image model.
    """
    kind = str(index.get("_class_name"))
    family = FAMILY_OF.get(kind)
    if family is None:
        raise refuse_pipeline(kind, path, map(pipeline_name, ENCODERS))
    absent = [part for part in ENCODERS[family] if (index.get(part) or [None])[0] is None]
    if part_is_named(index) and absent:
        raise MiaError(
            f"{path} is a {kind} without {' and '.join(absent)}, as refiners are: it is asked with "
            "an image, not with a caption alone, and is no text-to-image target."
        )
    return family


def part_is_named(index: Mapping[str, Any]) -> bool:
    """Whether the index lists parts at all; hand-written ones may name the class alone."""
    return any(isinstance(value, list) for value in index.values())


def check_unet(config: Mapping[str, Any], family: str, channels: int, path: str) -> None:
    """Whether a U-Net with this configuration is asked with latents and text alone.

    Args:
        channels: of the autoencoder's latents.

    Raises:
        MiaError: it takes anything else, or its channels are not those of the latents.
    """
    for option, what in ASKED_WITH_MORE.items():
        if config.get(option) is not None:
            raise MiaError(
                f"the U-Net of {path} takes {what} too ({option}={config[option]}): it is no "
                "text-to-image target that could be asked with a caption alone."
            )
    added = config.get("addition_embed_type")
    if added != ("text_time" if family == SDXL else None):
        raise MiaError(
            f"the U-Net of {path} has addition_embed_type={added}, which does not belong to "
            f"{pipeline_name(family)}: the U-Net is of another family than the other parts."
        )
    inputs = config.get("in_channels", channels)
    if inputs not in (channels, 2 * channels + 1):
        raise MiaError(
            f"the U-Net of {path} takes {inputs} channels for latents of {channels}: upscaling and "
            "editing models are asked with an image, and are no text-to-image targets. "
            f"(In-painting models, which take {2 * channels + 1}, are read, all masked.)"
        )
