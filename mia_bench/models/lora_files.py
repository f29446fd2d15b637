"""Files of low-rank adapters: the matrices of every layer, whichever trainer wrote them.

Read are, with or without the name of an adapter in their keys:

    diffusers now       unet.<layer>.lora_A.weight, with peft's settings in the file's metadata
    one network's own   <layer>.lora_A.weight (`save_lora_adapter`), base_model.model.<layer>...
                        with adapter_config.json beside it (peft)
    diffusers in 2023   <layer>.to_q_lora.down.weight, <layer>.lora_linear_layer.down.weight
    kohya, LyCORIS      lora_unet_<layer with underscores>.lora_down.weight, .alpha, .dora_scale

Of transformers likewise, with transformer for unet; what other trainers call their layers is
converted by diffusers.

A matrix that cannot be read so is an error with its name: nothing in a file is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mia_bench.utils.errors import MiaError

NAME = "pytorch_lora_weights.safetensors"
METADATA = "lora_adapter_metadata"  # where diffusers keeps peft's settings
PEFT_NAME, PEFT_SETTINGS = "adapter_model.safetensors", "adapter_config.json"
PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
FOREIGN = ("lora_unet_", "lora_te", "diffusion_model.", "double_blocks.", "single_blocks.")
KOHYA_PARTS = {  # by the start of a key; "unet" is the network that is trained, whatever its kind
    "lora_unet_": "unet",
    "lora_transformer_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
PATTERNS = (  # of keys; the first that matches says which layer, which matrix and which adapter
    re.compile(r"(?P<layer>.+)\.lora_(?P<kind>A|B)(\.(?P<adapter>[^.]+))?\.weight"),
    re.compile(
        r"(?P<layer>.+)\.lora_(?P<kind>magnitude)_vector(\.(?P<adapter>(?!weight$)[^.]+))?"
        r"(\.weight)?"
    ),
    re.compile(r"(?P<layer>.+)\.lora_(?P<kind>down|up)\.weight"),
    re.compile(r"(?P<layer>.+)\.(?P<kind>alpha|dora_scale)"),
    re.compile(r"(?P<layer>.+)(\.lora|\.lora_linear_layer|_lora)\.(?P<kind>down|up)\.weight"),
)
KINDS = {"A": "down", "B": "up", "dora_scale": "magnitude"}  # one word for each matrix
NOT_LOW_RANK = re.compile(r"\.(hada_|lokr_|oft_|boft_|glora_|diff$|diff_b$)")
SAFE_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # leave the base as it is


@dataclass(frozen=True)
class LowRank:
    """What is added to one layer: scale * up @ down, with a magnitude for DoRA."""

    name: str
    """The layer in the words of the file."""
    down: Tensor
    """(rank, inputs, ...)"""
    up: Tensor
    """(outputs, rank, ...)"""
    scale: float
    """alpha / rank, or alpha / sqrt(rank) where the settings say so."""
    magnitude: Tensor | None = None
    """Norms that the sum is given (DoRA): (outputs, ...), or (1, inputs, ...) of LyCORIS."""


@dataclass(frozen=True)
class Adapters:
    """A LoRA: by part ("unet", "text_encoder", ...) and layer, with underscores for dots."""

    path: Path
    layers: Mapping[str, Mapping[str, LowRank]]


def find_lora(path: Path) -> Path:
    """The safetensors file meant by `path`: itself, a usual name in it, or its only one."""
    if path.is_file() and path.suffix == ".safetensors":
        return path
    for name in (NAME, PEFT_NAME):
        if (path / name).is_file():
            return path / name
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    contents = f"{len(files)} safetensors files" if path.is_dir() else "no safetensors file"
    raise MiaError(
        f"{path} is {contents}: name a LoRA file, or a folder with {NAME} or {PEFT_NAME} in it."
    )


def lora_files(path: Path) -> dict[str, list[Path]]:
    """Everything that is read of a LoRA: its file and peft's settings, by part where folders
    of parts hold them ("" where the keys say it)."""
    folders = {part: path / part for part in PARTS if (path / part / PEFT_NAME).is_file()}
    if not folders or (path / NAME).is_file():
        folders = {"": path}
    files = {part: find_lora(folder) for part, folder in folders.items()}
    return {part: [file, *_settings_beside(file)] for part, file in files.items()}


def _settings_beside(file: Path) -> list[Path]:
    settings = file.with_name(PEFT_SETTINGS)
    return [settings] if file.name != NAME and settings.is_file() else []


def read_lora(path: Path, network: str = "unet", pipeline: str | None = None) -> Adapters:
    """Read a LoRA into memory.

    Args:
        network: the part that keys without one are of.
        pipeline: class of a transformer family of diffusers, which converts other trainers' words.

    Raises:
        MiaError: the file is not one, or holds something that has no meaning here; names it.
    """
    layers: dict[str, dict[str, LowRank]] = {}
    files = lora_files(path)
    for part, (file, *settings) in files.items():
        for name, updates in _read_file(file, part, settings, network, pipeline).items():
            layers.setdefault(name, {}).update(updates)
    return Adapters(find_lora(path) if "" in files else path, layers)


def _read_file(
    file: Path, part: str, settings_files: list[Path], network: str, pipeline: str | None
) -> dict[str, dict[str, LowRank]]:
    state, settings = _open(file, settings_files)
    if pipeline is not None and any(key.startswith(FOREIGN) for key in state):
        state = _converted(file, state, pipeline)
    matrices, adapters = _sorted_by_layer(file, state, part, network)
    if len(adapters) > 1:
        raise MiaError(
            f"{file} holds {len(adapters)} adapters ({', '.join(sorted(adapters))}): save the one "
            "that is meant in a file of its own."
        )
    layers: dict[str, dict[str, LowRank]] = {}
    for (name, layer), kinds in matrices.items():
        chosen = _settings_of(settings, name)
        _check_settings(file, chosen)
        layers.setdefault(name, {})[layer.replace(".", "_")] = _low_rank(file, layer, kinds, chosen)
    return layers


def _open(file: Path, settings_files: list[Path]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, settings of peft) of a file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as handle:
            state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            text = (handle.metadata() or {}).get(METADATA, "{}")
        if settings_files:
            text = settings_files[0].read_text(encoding="utf-8")
        settings = json.loads(text) or {}
    except (OSError, SafetensorError, ValueError) as error:
        raise MiaError(f"cannot read the LoRA {file}: {error}") from error
    if not isinstance(settings, dict):
        raise MiaError(f"cannot read the LoRA {file}: its settings are no JSON object.")
    if not settings_files and any(key.startswith("base_model.model.") for key in state):
        raise MiaError(
            f"{file} was written by peft, and {PEFT_SETTINGS} is not beside it: that file holds "
            "the alpha, without which the adapter's scale is not known."
        )
    return state, settings


def _sorted_by_layer(
    file: Path, state: Mapping[str, Tensor], part: str, network: str
) -> tuple[dict[tuple[str, str], dict[str, Tensor]], set[str]]:
    """({(part, layer): {"down", "up", "alpha", "magnitude"}}, names of adapters)."""
    matrices: dict[tuple[str, str], dict[str, Tensor]] = {}
    adapters, strange = set(), []
    for key, tensor in state.items():
        match = next((m for pattern in PATTERNS if (m := pattern.fullmatch(key))), None)
        if match is None:
            strange.append(key)
            continue
        named = match.groupdict()
        place = _place(named["layer"], part, network)
        if named["kind"] == "magnitude":
            tensor = tensor.flatten()  # peft's is one for each output, (1, outputs, 1, 1) at most
        matrices.setdefault(place, {})[KINDS.get(named["kind"], named["kind"])] = tensor
        adapters |= {named["adapter"]} if named.get("adapter") else set()
    if other := [key for key in strange if NOT_LOW_RANK.search(key)]:
        raise MiaError(
            f"{file} does not hold a LoRA but another kind of adapter ({other[0]}). LoRA and DoRA "
            "are read; merge this one into the U-Net with the tool that wrote it."
        )
    if not any({"down", "up"} & kinds.keys() for kinds in matrices.values()):
        raise MiaError(f"{file} does not hold a LoRA: none of its {len(state)} tensors is one.")
    if strange:
        raise MiaError(
            f"{file} is a LoRA with {len(strange)} tensors that are none of its matrices, such as "
            f"{strange[0]}: they would be left out, so the file is not used."
        )
    return matrices, adapters


def _converted(file: Path, state: dict[str, Tensor], pipeline: str) -> dict[str, Tensor]:
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


def _place(layer: str, part: str, network: str) -> tuple[str, str]:
    """(part, layer in that part's own words) from the layer in a key."""
    for prefix, kohya in KOHYA_PARTS.items():
        if layer.startswith(prefix):
            return network if kohya == "unet" else kohya, layer.removeprefix(prefix)
    layer = layer.removeprefix("base_model.model.")
    for name in PARTS:
        if layer.startswith(f"{name}."):
            part, layer = name, layer.removeprefix(f"{name}.")
    layer = layer.removeprefix("base_model.model.").replace(".processor.", ".")
    if not part:
        is_text = layer.startswith(("text_model.", "encoder.layers."))
        part = "text_encoder" if is_text else network
    if part in ("unet", "transformer"):
        return part, re.sub(r"\.to_out$", ".to_out.0", layer)
    return part, re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", layer)


def _settings_of(settings: Mapping[str, Any], part: str) -> dict[str, Any]:
    """peft's settings of a part: under its prefix, or alone in the file of one network."""
    own = {k.removeprefix(f"{part}."): v for k, v in settings.items() if k.startswith(f"{part}.")}
    return own or {k: v for k, v in settings.items() if "." not in k}


def _check_settings(file: Path, settings: Mapping[str, Any]) -> None:
    """Refuse what would make the matrices mean something else."""
    kind, start = settings.get("peft_type") or "LORA", settings.get("init_lora_weights")
    if kind != "LORA":
        raise MiaError(f"{file} is an adapter of peft's kind {kind}: LORA alone is read.")
    if settings.get("fan_in_fan_out"):
        raise MiaError(f"{file} has fan_in_fan_out set: its matrices are for transposed layers.")
    if start not in SAFE_STARTS:
        raise MiaError(
            f"{file} was started with init_lora_weights={start}, which changes the base too: "
            "convert it to a plain LoRA when saving (path_initial_model_for_weight_conversion)."
        )


def _low_rank(
    file: Path, layer: str, kinds: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> LowRank:
    """The matrices of one layer, checked, with their scale."""
    needed = ["down", "up", *(["magnitude"] if settings.get("use_dora") else [])]
    if missing := [kind for kind in needed if kind not in kinds]:
        raise MiaError(f"{file} lacks the {' and '.join(missing)} matrix of {layer}.")
    down, up = kinds["down"].float(), kinds["up"].float()
    if down.dim() < 2 or up.dim() < 2 or up.flatten(1).shape[1] != len(down):
        raise MiaError(
            f"{file}: the matrices of {layer} are {list(down.shape)} and {list(up.shape)}, which "
            "have no rank in common."
        )
    if not all(bool(matrix.isfinite().all()) for matrix in kinds.values()):
        raise MiaError(f"{file}: the matrices of {layer} hold values that are not finite.")
    rank = len(down)
    alpha = float(kinds["alpha"]) if "alpha" in kinds else _alpha(file, layer, settings, rank)
    if not (math.isfinite(alpha) and alpha > 0):
        raise MiaError(f"{file}: the alpha of {layer} is {alpha:g}, and above 0 is needed.")
    scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    magnitude = kinds.get("magnitude")
    return LowRank(layer, down, up, scale, None if magnitude is None else magnitude.float())


def _alpha(file: Path, layer: str, settings: Mapping[str, Any], rank: int) -> float:
    """peft's alpha of a layer: the first pattern that ends its name, else the one for all."""
    try:
        for pattern, alpha in (settings.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", layer):
                return float(alpha)
        return float(settings.get("lora_alpha", rank))
    except (re.error, AttributeError, TypeError, ValueError) as error:
        raise MiaError(f"cannot read the alphas in the settings of {file}: {error}") from error
