"""Builders of targets, one per model family: light to create, `build` loads the weights."""

from mia_bench.models.base import Model, SaysText, StartsUntrained, has_text, starts_untrained

__all__ = ["Model", "SaysText", "StartsUntrained", "has_text", "starts_untrained"]
