"""Which model a word names: one of the package, a diffusers folder, a LoRA, a file, a hub id."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.config.compose import conf_dir
from mia_bench.models import hub
from mia_bench.models.lora.files import NAME, PEFT_NAME, PEFT_SETTINGS
from mia_bench.utils.errors import MiaError, Missing

MAX_NAMING_BYTES = 1 << 20  # of a model card or configuration that may name a base
BASE_IN_CARD = re.compile(r"^base_model:\s*(?:\n\s*-\s*)?[\"']?([\w.-]+/[\w.-]+)", re.MULTILINE)
INDEX = "model_index.json"


@dataclass(frozen=True)
class AuditedModel:
    """A model in the words of the configuration, and the base that it was fine-tuned from.

    `base` is None where none is known or here; `remark` says which, for a person.
    """

    name: str
    words: tuple[str, ...]
    base: tuple[str, ...] | None
    remark: str


def recognise(model: str, base: str | None) -> AuditedModel:
    """The model that `model` names.

    Raises:
        MiaError: it is a LoRA or a U-Net without its base, or nothing that can be read.
    """
    if model != "diffusers" and (conf_dir() / "model" / f"{model}.yaml").is_file():
        return AuditedModel(model, (f"model={model}",), _base_words(base), _no_base(base))
    path = Path(model).expanduser()
    if (adapters := _lora(path)) is not None:
        named = base or _named_base(path if path.is_dir() else path.parent)
        if named is None:
            raise MiaError(
                f"{model} is a LoRA, and what it was trained on is not written beside it: add "
                "base= the folder or hub id of that model."
            )
        without = _base_words(named) or ()
        words = (*without, f"model.lora={quoted(str(adapters))}")
        return AuditedModel(path.name, words, without, f"Base model: {named}.")
    if path.is_dir() and not (path / INDEX).is_file():
        return _unet_alone(path, base)
    named = base or (_named_base(path) if path.is_dir() else None)
    of_base, remark = _available(named, given=base is not None)
    return AuditedModel(path.name, _of_path(model), of_base, remark)


def _unet_alone(path: Path, base: str | None) -> AuditedModel:
    """A fine-tuned U-Net in the model it was trained from. Raises MiaError where none is named."""
    from mia_bench.models.stable_diffusion import StableDiffusion

    named = base or _named_base(path)
    is_unet = _read(path / "config.json").get("_class_name") == "UNet2DConditionModel"
    if named is None or not is_unet or "unet" not in StableDiffusion.__dataclass_fields__:
        raise MiaError(_no_pipeline(path))
    without = _base_words(named) or ()
    words = (*without, f"model.unet={quoted(str(path))}")
    return AuditedModel(path.name, words, without, f"Base model: {named}.")


def _available(named: str | None, given: bool) -> tuple[tuple[str, ...] | None, str]:
    """(words of the base where it is here, remark). A base that was given must be here."""
    if named is None:
        return None, _no_base(None)
    if given:
        return _base_words(named), f"Base model: {named}."
    try:
        hub.locate(named, "pinned")
    except Missing:
        return None, (
            f"It names its base model, {named}, which is not here: fetch it and add base={named} "
            "for a better answer."
        )
    return _base_words(named), f"Base model: {named}, which its own files name."


def _no_base(base: str | None) -> str:
    if base is not None:
        return f"Base model: {base}."
    return (
        "Without the base model: base= the model before its fine-tuning gives a better answer, "
        "since what it already says of each picture is subtracted."
    )


def _base_words(base: str | None) -> tuple[str, ...] | None:
    if base is None:
        return None
    if base != "diffusers" and (conf_dir() / "model" / f"{base}.yaml").is_file():
        return (f"model={base}",)
    return _of_path(base)


def _of_path(path: str) -> tuple[str, ...]:
    return ("model=diffusers", f"model.path={quoted(path)}")


def quoted(text: str) -> str:
    """A value in Hydra's grammar, whatever characters it holds."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
    return f"'{escaped}'"


def _lora(path: Path) -> Path | None:
    """`path` where it is a LoRA: a folder or a file of adapters."""
    if path.is_dir():
        names = (NAME, PEFT_NAME)
        is_lora = any((path / name).is_file() for name in names) and not (path / INDEX).is_file()
        return path if is_lora else None
    if path.is_file() and path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as handle:
                keys = list(handle.keys())
        except (OSError, SafetensorError) as error:
            raise MiaError(f"{path} cannot be read as safetensors: {error}.") from error
        return (
            path if keys and all("lora" in key.lower() or "alpha" in key for key in keys) else None
        )
    return None


def _no_pipeline(path: Path) -> str:
    kind = _read(path / "config.json").get("_class_name")
    if kind is not None:
        return (
            f"{path} is a {kind} alone, without {INDEX}: give the folder of the whole pipeline. A "
            "fine-tuned U-Net goes into a copy of its base's folder as unet/."
        )
    return (
        f"{path} has no {INDEX}, so it is no diffusers folder, and no LoRA lies in it: give the "
        "folder that save_pretrained wrote, a LoRA, a .safetensors file or a hub id."
    )


def _named_base(folder: Path) -> str | None:
    """The base that the files in `folder` name, other than itself."""
    settings = _read(folder / PEFT_SETTINGS).get("base_model_name_or_path")
    candidates: list[Any] = [settings]
    card = folder / "README.md"
    if card.is_file() and card.stat().st_size <= MAX_NAMING_BYTES:
        match = BASE_IN_CARD.search(card.read_text(encoding="utf-8", errors="replace"))
        candidates.append(match and match.group(1))
    candidates += [
        _read(folder / name).get("_name_or_path") for name in (INDEX, "unet/config.json")
    ]
    named = (_pipeline(c) for c in candidates if isinstance(c, str) and c)
    return next((name for name in named if Path(name).resolve() != folder.resolve()), None)


def _pipeline(name: str) -> str:
    """`name`, or the pipeline's folder where it is that of a part, as a U-Net's settings say."""
    path = Path(name)
    whole = path.is_dir() and not (path / INDEX).is_file() and (path.parent / INDEX).is_file()
    return str(path.parent) if whole else name


def _read(path: Path) -> Mapping[str, Any]:
    """A small JSON object, or nothing."""
    try:
        if path.stat().st_size > MAX_NAMING_BYTES:
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
