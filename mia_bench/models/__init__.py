"""Builders of targets, one per model family: light to create, `build` loads the weights."""

from mia_bench.models.base import (
    ChecksItself,
    HasBase,
    Model,
    SaysDecoder,
    SaysText,
    StartsUntrained,
    TellsLatentSide,
    base_of,
    has_decoder,
    has_text,
    starts_untrained,
)

__all__ = [
    "ChecksItself",
    "HasBase",
    "Model",
    "SaysDecoder",
    "SaysText",
    "StartsUntrained",
    "TellsLatentSide",
    "base_of",
    "has_decoder",
    "has_text",
    "starts_untrained",
]
