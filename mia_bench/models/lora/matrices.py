"""What a LoRA adds to one layer: two matrices and a scale, with a magnitude for DoRA."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mia_bench.utils.errors import MiaError

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


def low_rank(
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


def settings_of(settings: Mapping[str, Any], part: str) -> dict[str, Any]:
    """peft's settings of a part: under its prefix, or alone in the file of one network."""
    own = {k.removeprefix(f"{part}."): v for k, v in settings.items() if k.startswith(f"{part}.")}
    return own or {k: v for k, v in settings.items() if "." not in k}


def check_settings(file: Path, settings: Mapping[str, Any]) -> None:
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
