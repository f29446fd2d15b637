"""Where recomputed figures leave the stored ones: one answer for report, verify and audits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mia_bench.metrics.registry import random_keys

PLAIN = (float, int, str, type(None))
SHOWN_CHARACTERS = 60  # of a value that is no number


@dataclass(frozen=True)
class Tolerances:
    """How far recomputed figures may be from the stored ones and still agree.

    `value` is relative above 1 and absolute below. `random` takes its place for what rests on
    random draws (bounds, p-values, permutation figures); infinite leaves these uncompared.
    """

    value: float = 1e-9
    random: float = 1e-9


SAME_VERSIONS = Tolerances()
OTHER_VERSIONS = Tolerances(random=0.02)  # another NumPy may draw other resamples
OTHER_METRICS = Tolerances(random=math.inf)  # another METRICS_VERSION draws in another way


def json_differences(
    stored: Any, recomputed: Any, tolerances: Tolerances = SAME_VERSIONS, name: str = ""
) -> list[str]:
    """'auroc.value 0.81, stored 0.79' for every leaf of two JSON values that differs.

    Lists of objects are compared object by object; a list of plain values is one leaf.
    """
    if type(stored) is type(recomputed) and isinstance(stored, PLAIN) and stored == recomputed:
        return []  # most leaves, a thousand times over
    if isinstance(stored, Mapping) and isinstance(recomputed, Mapping):
        return [
            difference
            for key in dict.fromkeys((*recomputed, *stored))
            for difference in json_differences(
                stored.get(key), recomputed.get(key), tolerances, f"{name}.{key}" if name else key
            )
        ]
    if _objects(stored) and _objects(recomputed) and len(stored) == len(recomputed):
        return [
            difference
            for i, (old, new) in enumerate(zip(stored, recomputed, strict=True))
            for difference in json_differences(old, new, tolerances, f"{name}[{i}]")
        ]
    if _agree(stored, recomputed, tolerances.value):
        return []
    if not random_keys().isdisjoint(name.split(".")):
        tolerance = tolerances.random
        if math.isinf(tolerance) or _agree(stored, recomputed, tolerance):
            return []
    return [f"{name} {_text(recomputed)}, stored {_text(stored)}"]


def with_stored_draws(recomputed: Any, stored: Any) -> Any:
    """Recomputed figures with what rests on random draws as it is stored, where it is stored."""
    return _merged(recomputed, stored, random_keys())


def _merged(recomputed: Any, stored: Any, keys: frozenset[str]) -> Any:
    if isinstance(recomputed, PLAIN) or not (
        isinstance(recomputed, Mapping) and isinstance(stored, Mapping)
    ):
        return recomputed
    merged = {key: _merged(value, stored.get(key), keys) for key, value in recomputed.items()}
    return merged | {key: value for key, value in stored.items() if key in keys}


def _objects(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(entry, Mapping) for entry in value)


def _agree(a: Any, b: Any, tolerance: float) -> bool:
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b)):
        return bool(abs(a - b) <= tolerance * max(1.0, abs(a), abs(b)))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_agree(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:SHOWN_CHARACTERS]
