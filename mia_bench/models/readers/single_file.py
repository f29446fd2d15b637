"""One .safetensors file of the original layout: Stable Diffusion 1.x, 2.x and XL.

The file holds weights alone. What its networks look like, its schedule and its tokenizers come
from a folder of configurations: one of the package, chosen by the names of the tensors, or one that
model.config names. What is loaded from it: single_file_weights.py. Nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.models.readers.refusals import (
    READ_AS_ONE_FILE,
    kind_of_file,
    refuse_eight_bits,
    refuse_single_file,
)
from mia_bench.models.readers.textual_inversion import XL_NAMES
from mia_bench.models.weight_files import read_config
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.serialization import is_pickle, refusal
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    import torch

CONFIGS = Path(__file__).parents[2] / "assets" / "configs"
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
TEXT = {  # text encoder of the pipeline -> prefixes it may have
    "text_encoder": (CLIP, OPEN_CLIP, XL_CLIP),
    "text_encoder_2": (XL_OPEN_CLIP,),
}
PREFIXES = {"unet": (UNET,), "vae": (VAE,), **TEXT}
FIRST_WEIGHT = f"{UNET}input_blocks.0.0.weight"
ALPHAS = "alphas_cumprod"
NO_WEIGHTS = re.compile(  # tables of the schedule, and marks of trainers
    r"betas|alphas_cumprod(_prev)?|sqrt_\w+|log_one_minus_\w+|posterior_\w+|logvar|lvlb_weights"
    r"|denoiser\.(sigmas|log_sigmas)|scale_factor|model_ema\.(decay|num_updates)|v_pred|ztsnr"
)
WAY_OUT = (
    "Convert it to a diffusers folder where the program is that made it, or give a folder with the "
    "configurations of the model it was made from: model.config=<diffusers folder>."
)

WHOLE = "Name the model itself: a diffusers folder, a hub id or one file with all its networks"
NETWORKS = {  # by how tensors of a network on its own begin
    ("encoder.", "decoder.", "first_stage_model."): "an autoencoder",
    ("text_model.", "cond_stage_model.", "conditioner."): "a text encoder",
    ("controlnet_", "control_model."): "a ControlNet",
}


def is_single_file(path: str) -> bool:
    """Whether model.path names a file and not a folder. Raises Missing for a pickle."""
    file = Path(path).expanduser()
    if is_pickle(path) and not file.is_dir():
        raise Missing(f"model.path: {refusal(path)}")
    return file.suffix == ".safetensors" and (file.is_file() or not file.is_dir())


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor by name, from the file's header. Raises MiaError for another file."""
    if not file.is_file():
        raise Missing(
            f"model.path={file} is not there: name a file, a diffusers folder or a hub id."
        )
    stat = file.stat()
    return dict(_shapes(file, stat.st_size, stat.st_mtime_ns))


@cache
def _shapes(file: Path, _size: int, _mtime_ns: int) -> Mapping[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
            return {name: tuple(opened.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise MiaError(f"cannot read {file}: {error}. The file may be truncated.") from error


def config_folder(file: Path, config: str | None) -> Path:
    """The folder of configurations for `file`: `config`, a word or a folder, or by its tensors.

    Raises:
        MiaError: the file holds no model of these families, or more than one way to read it.
    """
    words = sorted(path.name for path in CONFIGS.iterdir())
    if config is not None:
        folder = CONFIGS / config if config in words else Path(config).expanduser()
        if not (folder / "model_index.json").is_file():
            raise MiaError(
                f"model.config={config} is neither a folder with model_index.json nor one of "
                f"{', '.join(words)}. {nearest(config, words)}"
            )
        return folder
    names = shapes(file)
    _refuse_others(file, names)
    if _has(names, OPEN_CLIP):
        raise MiaError(
            f"{file} is a Stable Diffusion 2, and the file does not say what its U-Net predicts: "
            "add model.config=sd2_v (v prediction, as Stable Diffusion 2.1 at 768 pixels) or "
            "model.config=sd2 (epsilon, as 2.1-base at 512 pixels)."
        )
    if _has(names, CLIP):
        return CONFIGS / "sd1"
    return CONFIGS / ("sdxl_v" if "v_pred" in names else "sdxl")


def _refuse_others(file: Path, names: Mapping[str, Any]) -> None:
    if kind_of_file(names) not in (None, *READ_AS_ONE_FILE):
        raise refuse_single_file(file)
    if not _has(names, UNET):
        raise MiaError(f"model.path={file} is no whole model: {_part(file, names)}.")
    if _has(names, "conditioner.embedders.0.model."):
        raise MiaError(f"{file} is an SDXL refiner, which is asked with an image: not a target.")
    if not _has(names, VAE) or not any(_has(names, p) for many in TEXT.values() for p in many):
        lacking = "an autoencoder" if not _has(names, VAE) else "a text encoder that is known here"
        raise MiaError(f"model.path={file} is no whole model: it lacks {lacking}. {WAY_OUT}")


def _part(file: Path, names: Mapping[str, Any]) -> str:
    """What a file without a U-Net is instead, and which key takes it."""
    if any("lora" in name for name in names):
        return "it is a LoRA (model.lora=... beside a base)"
    if any(name.startswith("down_blocks.") for name in names):
        return "it is one network of a diffusers folder (model.unet=<its folder> on a base)"
    if set(names) == set(XL_NAMES) or [len(shape) for shape in names.values()] == [2]:
        return (
            "it is a learned word, a textual inversion. Name the model whose captions hold the "
            f"word as the model, and beside it model.embeddings={file}"
        )
    for prefixes, what in NETWORKS.items():
        if any(name.startswith(prefixes) for name in names):
            return f"it is {what} alone. {WHOLE}"
    return f"it holds no U-Net of the original layout. {WHOLE}"


def check_file(file: Path, folder: Path, betas: torch.Tensor) -> None:
    """Every tensor of `file` belongs to a part of the model that `folder` describes.

    Args:
        betas: the alphas_cumprod of that model's schedule.

    Raises:
        MiaError: a tensor that would be left out, another width, or another schedule in the file.
    """
    names, index = shapes(file), read_config(folder / "model_index.json")
    _refuse_others(file, names)
    refuse_eight_bits([file])
    parts = [part for part in PREFIXES if part in index]
    prefixes = tuple(prefix for part in parts for prefix in PREFIXES[part])
    if sum(name.startswith("model_ema.") for name in names) > 2:
        raise MiaError(
            f"{file} holds two U-Nets: the weights that were trained (model.diffusion_model) and "
            f"their averages (model_ema). Which is meant is not said in it. {WAY_OUT}"
        )
    known = (n for n in names if n.startswith(prefixes) or NO_WEIGHTS.fullmatch(n))
    strange = sorted(names.keys() - set(known))
    if strange:
        raise MiaError(
            f"{file} holds {len(strange)} tensors that have no place in the model of {folder}, "
            f"such as {strange[0]}: they would be left out, so the file is not used. {WAY_OUT}"
        )
    config = read_config(folder / "unet" / "config.json")
    context = next((s[1] for n, s in names.items() if n.endswith("attn2.to_k.weight")), None)
    widths = (names.get(FIRST_WEIGHT, (0,))[0], context)
    described = (
        config.get("block_out_channels", [320])[0],
        config.get("cross_attention_dim", 1280),
    )
    if widths != described:
        raise MiaError(
            f"the U-Net of {file} is {widths[0]} channels wide for a text of {widths[1]}, and that "
            f"of the configurations in {folder} is {described[0]} for {described[1]}. {WAY_OUT}"
        )
    _check_schedule(file, names, betas)


def _check_schedule(file: Path, names: Mapping[str, Any], betas: torch.Tensor) -> None:
    """A file that brings the table of its own schedule agrees with the one that is used."""
    from safetensors import safe_open

    if ALPHAS not in names:
        return
    with safe_open(file, framework="pt") as opened:
        own = opened.get_tensor(ALPHAS).float()
    if own.shape != betas.shape or (own - betas).abs().max() > 1e-3:
        raise MiaError(
            f"{file} brings a schedule of its own (alphas_cumprod), which is not that of its "
            f"configurations. {WAY_OUT}"
        )


def marked_schedule(file: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduler's configuration with what the file's own marks say.

    Trainers put empty tensors into a file: "v_pred" for v prediction, "ztsnr" for a schedule whose
    last step has no signal.

    Raises:
        MiaError: the mark and the configuration disagree.
    """
    names, prediction = shapes(file), config.get("prediction_type", "epsilon")
    if "v_pred" in names and prediction != "v_prediction":
        raise MiaError(
            f"{file} is marked v_pred, and its configurations say prediction_type={prediction}: "
            "use others (model.config=)."
        )
    return {**config, **({"rescale_betas_zero_snr": True} if "ztsnr" in names else {})}


def input_channels(file: Path) -> int:
    """Channels that the U-Net takes: in-painting models have the configurations of plain ones."""
    return shapes(file).get(FIRST_WEIGHT, (0, 0))[1]


def _has(names: Mapping[str, Any], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)
