"""Builders of targets, one per model family: light to create, `build` loads the weights."""

from mia_bench.models.base import ChecksItself, HasBase, Model, base_of

__all__ = ["ChecksItself", "HasBase", "Model", "base_of"]
