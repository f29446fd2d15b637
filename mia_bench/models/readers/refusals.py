"""Directories and files that no builder reads: what they are, what is nearest, what is missing."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable
from pathlib import Path

from mia_bench.utils.errors import MiaError
from mia_bench.utils.serialization import is_pickle, refusal

SUPPORTED = {  # pipeline class -> the yaml that reads it
    "StableDiffusionPipeline": "sd15",
    "StableDiffusionXLPipeline": "sdxl",
    "LatentConsistencyModelPipeline": "lcm",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux_dev",
    "Flux2KleinPipeline": "flux2_klein",
    "QwenImagePipeline": "qwen_image",
    "ZImagePipeline": "z_image",
    "SanaPipeline": "sana",
    "Lumina2Pipeline": "lumina2",
    "PixArtAlphaPipeline": "pixart_alpha",
    "PixArtSigmaPipeline": "pixart_sigma",
    "DDPMPipeline": "ddpm",
    "DDIMPipeline": "ddpm",
}
MISSING = {  # part of a class's name -> what a builder of it would need
    "Inpaint": "masks and the masked image as further channels of its input",
    "Fill": "masks and the masked image as further channels of its input",
    "Img2Img": "an image to start from; its folder is that of the text-to-image pipeline: change "
    "_class_name in model_index.json to it",
    "PAG": "its guidance while sampling alone; its folder is that of the text-to-image pipeline: "
    "change _class_name in model_index.json to it",
    "Kontext": "a reference image beside every latent",
    "Edit": "a reference image beside every latent",
    "ControlNet": "a control image for every sample",
    "Upscale": "a low-resolution image as further channels of its input",
    "Flux2": "its Mistral text encoder behind a processor, and its guidance as an input",
    "Chroma": "its transformer without pooled text, and masks of T5",
    "HiDream": "its four text encoders and its mixture of experts",
    "Krea": "its transformer and text stack",
    "Ideogram": "its transformer and text stack",
    "Kolors": "its ChatGLM text encoder",
    "HunyuanDiT": "its two text encoders and rotary embeddings of the image's size",
    "AuraFlow": "its text encoder and register tokens",
    "Cascade": "its two stages of latents",
    "Kandinsky": "image embeddings of its prior",
    "GlmImage": "the tokens of its autoregressive half",
}
SINGLE_FILE_MARKS = (  # part of a tensor's name -> the pipeline that such a file is of; first wins
    ("joint_blocks.", "StableDiffusion3Pipeline"),
    ("single_stream_modulation.", "Flux2KleinPipeline"),
    ("distilled_guidance_layer.", "ChromaPipeline"),
    ("double_blocks.", "FluxPipeline"),
    ("img_mod.", "QwenImagePipeline"),
    ("layers.0.adaLN_modulation.0.", "ZImagePipeline"),
    ("cap_embedder.", "Lumina2Pipeline"),
    ("attention_y_norm.", "SanaPipeline"),
    ("cross_attn.q_linear.", "PixArtAlphaPipeline"),
    ("conditioner.embedders.", "StableDiffusionXLPipeline"),
    ("input_blocks.", "StableDiffusionPipeline"),
)
READ_AS_ONE_FILE = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
CONVERTED = {  # pipeline -> its network, which diffusers can make of a single file
    "StableDiffusion3Pipeline": "SD3Transformer2DModel",
    "FluxPipeline": "FluxTransformer2DModel",
    "Flux2KleinPipeline": "Flux2Transformer2DModel",
    "QwenImagePipeline": "QwenImageTransformer2DModel",
    "ZImagePipeline": "ZImageTransformer2DModel",
    "SanaPipeline": "SanaTransformer2DModel",
    "Lumina2Pipeline": "Lumina2Transformer2DModel",
}
NEAREST = {  # start of a class's name -> what is read and nearest, where its name does not tell
    "Flux2": "Flux2KleinPipeline",
    "Kolors": "StableDiffusionXLPipeline",
    "Chroma": "FluxPipeline",
}
ALIKE = 0.8  # of two names, from 0 to 1: Lumina and Lumina2
EIGHT_BITS = ("F8", "F6", "F4", "I8", "U8", "I4")  # starts of safetensors' words for types
MAX_HEADER_BYTES = 100 * 2**20


def refuse_pipeline(kind: str, path: str, read: Iterable[str]) -> MiaError:
    """The error for a directory of another pipeline class than those `read` by the builder."""
    if kind in SUPPORTED:
        return MiaError(
            f"{path} is a {kind}: use model={SUPPORTED[kind]} model.path={path}, whose resolution "
            f"and recipe are that family's. This yaml reads {', '.join(read)}."
        )
    if kind == "None":
        return MiaError(
            f"{path}/model_index.json names no pipeline (_class_name): fetch it again, or add the "
            f"name of one that is read: {', '.join(sorted(SUPPORTED))}."
        )
    missing = next((what for part, what in MISSING.items() if part in kind), None)
    article = "an" if kind[0] in "AEIOU" else "a"
    return MiaError(
        f"{path} is {article} {kind}, and there is no builder for it. A builder would have to "
        f"handle {missing or 'its transformer and text stack'}. "
        f"{_nearest_class(kind)} docs/extending/model.md says how a family is added."
    )


def _nearest_class(kind: str) -> str:
    stems = {name: name.removesuffix("Pipeline") for name in SUPPORTED}
    inside = [name for name, stem in stems.items() if kind.startswith(stem)]
    told = next((name for start, name in NEAREST.items() if kind.startswith(start)), None)
    alike = difflib.get_close_matches(kind.removesuffix("Pipeline"), stems.values(), 1, ALIKE)
    spelt = next((name for name, stem in stems.items() if stem in alike), None)
    closest = told or (max(inside, key=len) if inside else spelt)
    if closest is None:
        return f"Read are {', '.join(sorted(SUPPORTED))}."
    return f"The nearest that is read is {closest} (model={SUPPORTED[closest]})."


def kind_of_file(names: Iterable[str]) -> str | None:
    """The pipeline class that a single file is of, by its tensors' names; None where no name
    tells."""
    names = tuple(names)
    marks = SINGLE_FILE_MARKS
    return next((kind for mark, kind in marks if any(mark in name for name in names)), None)


def refuse_single_file(path: Path) -> MiaError:
    """The error for a file where a folder is read: it names no text encoder and no scheduler."""
    if path.suffix == ".gguf":
        return MiaError(
            f"model.path={path} is a GGUF, whose weights are quantised: another network than was "
            "trained. Give the diffusers folder of the model it was made from."
        )
    if is_pickle(path):
        return MiaError(f"model.path: {refusal(path)}")
    names = header(path).keys()
    if not names:
        return MiaError(f"cannot read {path}: it has no header of safetensors. Fetch it again.")
    if (path.parent.parent / "model_index.json").is_file():
        return MiaError(
            f"model.path={path} is one network of a diffusers folder: name the folder itself, "
            f"model.path={path.parent.parent}."
        )
    if any("lora" in name for name in names):
        return MiaError(
            f"model.path={path} is a LoRA and no whole model: give it as model.lora={path}, beside "
            "the model that it was trained on."
        )
    refuse_eight_bits([path])
    kind = kind_of_file(names)
    if kind in READ_AS_ONE_FILE or (kind is not None and kind not in SUPPORTED):
        return refuse_pipeline(kind, str(path), ["folders of transformers"])
    what = f"of a {kind}" if kind else "of a kind that its tensors do not tell"
    return MiaError(
        f"model.path={path} is a single-file checkpoint {what}: it holds no scheduler, and often "
        "neither text encoders nor autoencoder, so its conventions would have to be guessed. "
        f"{_conversion(path, kind)}"
    )


def _conversion(path: Path, kind: str | None) -> str:
    """How a folder is made of a single file."""
    if kind not in CONVERTED:
        return "Give the diffusers folder of the model in its place: model.path=<folder>."
    command = (
        f'python -c "import sys; from diffusers import {CONVERTED[kind]} as N; '
        "N.from_single_file(sys.argv[1], config=sys.argv[2], subfolder='transformer')"
        f".save_pretrained(sys.argv[2] + '/transformer')\" {shlex.quote(str(path))} <folder>"
    )
    return (
        f"Copy the diffusers folder of the model it was made from (model={SUPPORTED[kind]} names "
        f"one), put this transformer into the copy with {command}, and give model.path=<folder>."
    )


def refuse_eight_bits(files: Iterable[Path]) -> None:
    """Raises MiaError for weights in 8 bits or fewer, whose values have scales of their own."""
    for file in files:
        kinds = {str(entry.get("dtype")) for entry in header(file).values()}
        small = sorted(kind for kind in kinds if kind.startswith(EIGHT_BITS))
        if small:
            raise MiaError(
                f"{file} holds weights in {small[0]}: a quantised network is another one than was "
                "trained, and its scales are not read. Use the bfloat16 or float32 files, with "
                "model.dtype=bfloat16 to save memory."
            )


def header(file: Path) -> dict[str, dict[str, object]]:
    """Tensors of a safetensors file by name, from its header alone; none where it has none."""
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > MAX_HEADER_BYTES:
                return {}
            entries = json.loads(stream.read(size))
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {k: v for k, v in entries.items() if k != "__metadata__" and isinstance(v, dict)}
