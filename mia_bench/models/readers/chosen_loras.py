"""The LoRAs that model.lora names, with their scales: found, hashed and read."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mia_bench.models import hub
from mia_bench.models.weight_files import contents
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.models.lora.matrices import Adapters

Scales = dict[str, float]


def chosen_loras(lora: str | tuple[str, ...] | None, scale: float | tuple[float, ...]) -> Scales:
    """Every LoRA with its scale. Raises MiaError when there is not one scale for each."""
    loras = (lora,) if isinstance(lora, str) else lora or ()
    scales = scale if isinstance(scale, tuple) else (scale,) * max(len(loras), 1)
    if len(scales) != len(loras) and (loras or scales != (1.0,)):
        raise MiaError(
            f"model.lora names {len(loras)} LoRAs and model.lora_scale {len(scales)} scales: "
            "give one scale for each, as in model.lora=[a.safetensors,b.safetensors] "
            "model.lora_scale=[1,0.7]."
        )
    if wrong := [scale for scale in scales if not math.isfinite(scale) or scale == 0]:
        raise MiaError(
            f"model.lora_scale={wrong[0]:g} would add nothing that can be used: give a number "
            "other than 0, or leave model.lora out to query the base."
        )
    if len(set(loras)) < len(loras):
        raise MiaError(f"model.lora names {max(loras, key=loras.count)} twice: give it once.")
    return dict(zip(loras, scales, strict=False))


def read_chosen(
    loras: Scales, parts: Collection[str], pipeline: str | None = None
) -> list[tuple[Adapters, float]]:
    """Their matrices, for a model that consists of `parts`; `pipeline`: of a transformer family."""
    from mia_bench.models.lora.files import read_loras

    files = [hub.locate_lora(lora) for lora in loras]
    chosen = read_loras(files, [*loras.values()], parts, pipeline)
    for adapters, _ in chosen:
        _require_change(adapters)
    return chosen


def _require_change(adapters: Adapters) -> None:
    """Raises MiaError for a LoRA whose products are all zero, as before its first step."""
    updates = [update for layers in adapters.layers.values() for update in layers.values()]
    if not any(u.magnitude is not None or bool(u.down.any() and u.up.any()) for u in updates):
        raise MiaError(
            f"{adapters.path} changes none of its {len(updates)} layers: its matrices are zero, as "
            "before training. The base would be queried in its place; leave model.lora out for it."
        )


def lora_key(loras: Scales) -> str | list[list[Any]] | None:
    """Content of one LoRA that is added as it is; of others with their scales."""
    from mia_bench.models.lora.files import lora_files

    keys = [
        [contents(f for files in lora_files(hub.locate_lora(lora)).values() for f in files), s]
        for lora, s in loras.items()
    ]
    if not keys:
        return None
    return str(keys[0][0]) if [scale for _, scale in keys] == [1.0] else keys
