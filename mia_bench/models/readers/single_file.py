"""One .safetensors file of the original layout: Stable Diffusion 1.x, 2.x and XL.

The file holds weights alone. What its networks look like, its schedule and its tokenizers come
from a folder of configurations: one of the package, chosen by the names of the tensors, or one that
model.config names. diffusers' own loader turns names and shapes into its own; here it is checked
that every tensor of the file was used and that every tensor of a network came from it. Nothing is
fetched.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.models.weight_files import load, read_config
from mia_bench.storage.hashing import hash_file
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.serialization import is_pickle, refusal
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    import torch

ASSETS = Path(__file__).parents[2] / "assets"
CONFIGS = ASSETS / "configs"
VOCABULARY = ASSETS / "tiny" / "tokenizer"  # CLIP's, which all of these models have
WORD_FILES = ("tokenizer.json", "vocab.json")  # either holds a tokenizer's words
REMEMBERED_TOKENIZERS = 2  # of SDXL's two encoders; 30 MB each
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
UNUSED_TEXT = re.compile(
    r".*(position_ids|logit_scale)"
)  # numbers and contrastive training's scale
RESBLOCK = re.compile(r".*\.resblocks\.(\d+)\..*")
WAY_OUT = (
    "Convert it to a diffusers folder where the program is that made it, or give a folder with the "
    "configurations of the model it was made from: model.config=<diffusers folder>."
)


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
    if not _has(names, UNET):
        what = "it holds no U-Net of the original layout"
        if any("lora" in name for name in names):
            what = "it is a LoRA (model.lora=... beside a base)"
        elif any(name.startswith("down_blocks.") for name in names):
            what = "it is one network of a diffusers folder (model.unet=<its folder> on a base)"
        raise MiaError(f"model.path={file} is no whole model: {what}.")
    if _has(names, "conditioner.embedders.0.model."):
        raise MiaError(f"{file} is an SDXL refiner, which is asked with an image: not a target.")
    if not _has(names, VAE) or not any(_has(names, p) for many in TEXT.values() for p in many):
        lacking = "an autoencoder" if not _has(names, VAE) else "a text encoder that is known here"
        raise MiaError(f"model.path={file} is no whole model: it lacks {lacking}. {WAY_OUT}")


def check_file(file: Path, folder: Path, betas: torch.Tensor) -> None:
    """Every tensor of `file` belongs to a part of the model that `folder` describes.

    Args:
        betas: the alphas_cumprod of that model's schedule.

    Raises:
        MiaError: a tensor that would be left out, another width, or another schedule in the file.
    """
    names, index = shapes(file), read_config(folder / "model_index.json")
    _refuse_others(file, names)
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
        raise MiaError(
            f"cannot load the {part} of {file}: {str(error).splitlines()[0]} {WAY_OUT}"
        ) from error
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


def load_tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer; where the folder has settings alone, with the vocabulary of CLIP's.

    Models of a run have the same words, and reading them takes a third of a second: folders of
    equal bytes share one tokenizer, to which nobody may add words (`copy.deepcopy` gives another).
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [path for path in there if path.is_file()]
    return _tokenizer(folder, tuple((path.name, hash_file(path)) for path in files))


@lru_cache(maxsize=REMEMBERED_TOKENIZERS)
def _tokenizer(folder: Path, files: tuple[tuple[str, str], ...]) -> Any:
    """The tokenizer of a folder whose `files`, by name and hash, are these."""
    from transformers import CLIPTokenizer

    if {*WORD_FILES} & dict(files).keys():
        return load(CLIPTokenizer, folder)
    settings = read_config(folder / "tokenizer_config.json")
    chosen = {key: settings[key] for key in ("model_max_length", "pad_token") if key in settings}
    return load(CLIPTokenizer, VOCABULARY, **chosen)


def vocabulary(folder: Path) -> Path:
    """The folder with a tokenizer's words: its own, or CLIP's where it has settings alone."""
    own = any((folder / name).is_file() for name in WORD_FILES)
    return folder if own else VOCABULARY


def _has(names: Mapping[str, Any], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)
