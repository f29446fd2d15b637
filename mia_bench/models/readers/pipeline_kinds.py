"""Which pipelines hold the plain networks of Stable Diffusion, and which only look as if.

A pipeline's class in model_index.json says what its networks are used for. Image-to-image,
in-painting and PAG pipelines are saved with the same networks as text-to-image, and those of latent
consistency models with one input more, see guidance.py. ControlNets, refiners and upscalers are
asked with more than an image and its caption, and are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mia_bench.models.readers.refusals import refuse_pipeline
from mia_bench.models.schedule import BETA_SCHEDULERS
from mia_bench.utils.errors import MiaError

SD, SDXL = "StableDiffusion", "StableDiffusionXL"
ENCODERS = {SD: ("text_encoder",), SDXL: ("text_encoder", "text_encoder_2")}
TASKS = ("", "Img2Img", "Inpaint", "PAG", "PAGImg2Img", "PAGInpaint")
LCM = "LatentConsistencyModel"
FAMILY_OF = {
    **{f"{family}{task}Pipeline": family for family in ENCODERS for task in TASKS},
    **{f"{LCM}{task}Pipeline": SD for task in ("", "Img2Img")},
}
TEXT_CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")  # with equal hidden states
CLASSES: dict[str, tuple[str, ...]] = {  # of each part, by model_index.json or its own config.json
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": TEXT_CLASSES,
    "text_encoder_2": TEXT_CLASSES,
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "scheduler": BETA_SCHEDULERS,
}
TEXT_MODEL_TYPES = ("clip_text_model", "clip")  # the second: a whole CLIP, whose half is read
ASKED_WITH_MORE = {  # options of a U-Net that takes more than text_time's sizes and pooled text
    "class_embed_type": "a class embedding",
    "num_class_embeds": "a class or a noise level",
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
    check_classes(index, CLASSES, path)
    return family


def check_classes(
    index: Mapping[str, Any], expected: Mapping[str, Sequence[str]], path: str
) -> None:
    """Whether model_index.json names the classes that are built here.

    Args:
        expected: the classes that are read, by part.

    Raises:
        MiaError: another network, tokenizer or scheduler, which would be read as if it were this.
    """
    for part, classes in expected.items():
        named = index.get(part)
        found = named[-1] if isinstance(named, list) and named else None
        if found is not None and found not in classes:
            raise MiaError(
                f"the {part} of {path} is a {found} (model_index.json), and a {classes[0]} is read "
                "there: its answers would be another model's. Name the model it was made from, or "
                f"put that model's {part} in its place."
            )


def check_part_configs(configs: Mapping[str, Mapping[str, Any]], path: str) -> None:
    """Whether each part's own config.json is of the class and the precision that is built here.

    Raises:
        MiaError: another class, by whichever of its fields names one, or quantised weights.
    """
    for part, config in configs.items():
        check_named_class(part, [config.get("_class_name")], CLASSES[part], path)
        check_named_class(part, architectures(config), CLASSES[part], path)
        if part.startswith("text_encoder"):
            check_named_class(part, [config.get("model_type")], TEXT_MODEL_TYPES, path)
        refuse_quantised(part, config, path)


def refuse_without_text(
    path: str, pipeline: str, encoder: str, there: Callable[[str], bool]
) -> None:
    """Raises MiaError where a text encoder or its tokenizer is not `there`."""
    parts = (encoder, encoder.replace("text_encoder", "tokenizer"))
    if absent := [part for part in parts if not there(part)]:
        names = " and ".join(absent)
        raise MiaError(
            f"{path} is a {pipeline} without its {names}: captions would be embedded otherwise "
            f"than in training. Fetch the complete directory, or copy {names} from the model it "
            "was fine-tuned from, named in model_index.json as there."
        )


def refuse_quantised(part: str, config: Mapping[str, Any], path: str) -> None:
    """Raises MiaError where a part's config.json says that its weights are quantised."""
    if config.get("quantization_config"):
        raise MiaError(
            f"the {part} of {path} is quantised (quantization_config in its config.json): a "
            "quantised network is another one than was trained, and is not read. Use its "
            "float16, bfloat16 or float32 files."
        )


def check_tokenizer_configs(configs: Mapping[str, Mapping[str, Any]], path: str) -> None:
    """Whether each tokenizer_config.json is of CLIP's tokenizer. Raises MiaError otherwise."""
    for part, config in configs.items():
        named, classes = config.get("tokenizer_class"), CLASSES[part]
        check_named_class(part, [named], classes, path, "tokenizer_config.json")


def architectures(config: Mapping[str, Any]) -> list[Any]:
    """The classes that a text encoder's config.json says it was saved from."""
    named = config.get("architectures") or []
    return named if isinstance(named, list) else [named]


def check_named_class(
    part: str,
    named: Sequence[Any],
    classes: Sequence[str],
    path: str,
    file: str = "config.json",
) -> None:
    """Whether what a part's own configuration names, if anything, is one of `classes`.

    Raises MiaError for another network or tokenizer, which would be read as if it were the first
    of them.
    """
    for name in named:
        if name is not None and name not in classes:
            raise MiaError(
                f"the {part} of {path} is a {name} (its {file}), and a {classes[0]} is read "
                f"there. Put the {part} of the model it was made from in its place."
            )


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
