"""Builders of targets, one per model family: light to create, `build` loads the weights."""

from mia_bench.models.base import (
    ChecksItself,
    HasBase,
    Model,
    SaysDecoder,
    SaysFlow,
    SaysText,
    StartsUntrained,
    TellsLatentSide,
    TellsSignal,
    base_of,
    has_decoder,
    has_text,
    is_flow,
    starts_untrained,
    timesteps_with_signal,
)

__all__ = [
    "ChecksItself",
    "HasBase",
    "Model",
    "SaysDecoder",
    "SaysFlow",
    "SaysText",
    "StartsUntrained",
    "TellsLatentSide",
    "TellsSignal",
    "base_of",
    "has_decoder",
    "has_text",
    "is_flow",
    "starts_untrained",
    "timesteps_with_signal",
]
