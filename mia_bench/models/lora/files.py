"""Files of low-rank adapters: where they are, and their matrices by part and layer."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mia_bench.models.lora.conversion import FOREIGN, converted
from mia_bench.models.lora.keys import PARTS, sorted_by_layer
from mia_bench.models.lora.matrices import (
    Adapters,
    LowRank,
    check_settings,
    low_rank,
    settings_of,
)
from mia_bench.utils.errors import MiaError

NAME = "pytorch_lora_weights.safetensors"
METADATA = "lora_adapter_metadata"  # where diffusers keeps peft's settings
PEFT_NAME, PEFT_SETTINGS = "adapter_model.safetensors", "adapter_config.json"


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


def read_loras(
    paths: Sequence[Path],
    scales: Sequence[float],
    parts: Collection[str],
    pipeline: str | None = None,
) -> list[tuple[Adapters, float]]:
    """LoRAs with their scales, for a model that consists of `parts`.

    Args:
        pipeline: class of a transformer family, whose trainers have words of their own for layers.

    Raises:
        MiaError: a file that is no LoRA, or one with adapters of a part that is not there.
    """
    network = "transformer" if "transformer" in parts else "unet"
    every = [read_lora(path, network, pipeline) for path in paths]
    for adapters in every:
        for part in sorted(adapters.layers.keys() - set(parts)):
            first = next(iter(adapters.layers[part].values())).name
            raise MiaError(
                f"{adapters.path} is a LoRA of another network: it holds adapters of a {part} "
                f"({first}), and this model has {', '.join(parts)}."
            )
    return list(zip(every, scales, strict=True))


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
        state = converted(file, state, pipeline)
    matrices, adapters = sorted_by_layer(file, state, part, network)
    if len(adapters) > 1:
        raise MiaError(
            f"{file} holds {len(adapters)} adapters ({', '.join(sorted(adapters))}): save the one "
            "that is meant in a file of its own."
        )
    layers: dict[str, dict[str, LowRank]] = {}
    for (name, layer), kinds in matrices.items():
        chosen = settings_of(settings, name)
        check_settings(file, chosen)
        layers.setdefault(name, {})[layer.replace(".", "_")] = low_rank(file, layer, kinds, chosen)
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
