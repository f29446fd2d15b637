"""Directories and files that no builder reads: what they are, what is nearest, what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

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
}
MISSING = {  # part of a class's name -> what a builder of it would need
    "Inpaint": "masks and the masked image as further channels of its input",
    "Fill": "masks and the masked image as further channels of its input",
    "Img2Img": "an image to start from; its folder is that of the text-to-image pipeline: change "
    "_class_name in model_index.json to it",
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
SINGLE_FILE_MARKS = (  # part of a tensor's name -> the pipeline that such a file is of
    ("joint_blocks.", "StableDiffusion3Pipeline"),
    ("double_blocks.", "FluxPipeline"),
    ("double_stream_modulation", "Flux2KleinPipeline"),
    ("transformer_blocks.0.attn.add_q_proj", "QwenImagePipeline"),
    ("cap_embedder.", "Lumina2Pipeline"),
    ("input_blocks.", "StableDiffusionPipeline"),
)
NEAREST = {  # start of a class's name -> what is read and nearest, where its name does not tell
    "Flux2": "Flux2KleinPipeline",
    "Kolors": "StableDiffusionXLPipeline",
    "Chroma": "FluxPipeline",
}
MAX_HEADER_BYTES = 100 * 2**20


def refuse_pipeline(kind: str, path: str, read: Iterable[str]) -> MiaError:
    """The error for a directory of another pipeline class than those `read` by the builder."""
    if kind in SUPPORTED:
        return MiaError(
            f"{path} is a {kind}: use model={SUPPORTED[kind]} model.path={path}, whose resolution "
            f"and recipe are that family's. This yaml reads {', '.join(read)}."
        )
    missing = next((what for part, what in MISSING.items() if part in kind), None)
    lacks = f"Missing is {missing}" if missing else "Missing are its transformer and text stack"
    return MiaError(
        f"{path} is a {kind}, and there is no builder for it. {lacks}. "
        f"{_nearest_class(kind)} docs/extending/model.md says how a family is added."
    )


def _nearest_class(kind: str) -> str:
    stems = {name: name.removesuffix("Pipeline") for name in SUPPORTED}
    inside = [name for name, stem in stems.items() if kind.startswith(stem)]
    told = next((name for start, name in NEAREST.items() if kind.startswith(start)), None)
    closest = told or (max(inside, key=len) if inside else None)
    if closest is None:
        return nearest(kind, SUPPORTED)
    return f"The nearest that is read is {closest} (model={SUPPORTED[closest]})."


def refuse_single_file(path: Path) -> MiaError:
    """The error for a checkpoint in one file, which names no text encoder and no scheduler."""
    names = header(path).keys() if path.suffix == ".safetensors" else ()
    kind = next(
        (kind for mark, kind in SINGLE_FILE_MARKS if any(mark in name for name in names)), None
    )
    what = f"of a {kind}" if kind else "of a kind that its tensors do not tell"
    convert = (
        f"diffusers.{kind or '<its pipeline>'}.from_single_file('{path}').save_pretrained(...)"
    )
    return MiaError(
        f"model.path={path} is a single-file checkpoint {what}: it holds no scheduler, and often "
        "neither text encoders nor autoencoder, so its conventions would have to be guessed. "
        f"Convert it with {convert} and point model.path at the folder."
    )


def refuse_eight_bits(files: Iterable[Path]) -> None:
    """Raises MiaError for weights in 8 bits or fewer, whose values have scales of their own."""
    for file in files:
        kinds = {str(entry.get("dtype")) for entry in header(file).values()}
        small = sorted(kind for kind in kinds if kind.startswith(("F8", "F4", "I8", "U8", "I4")))
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
