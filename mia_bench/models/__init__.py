"""Builders of targets, one per model family: light to create, `build` loads the weights."""

from mia_bench.models.base import Model

__all__ = ["Model"]
