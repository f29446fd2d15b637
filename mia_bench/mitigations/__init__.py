"""Mitigations: what a model owner may do while fine-tuning, as hooks that compose.

A mitigation is a frozen dataclass with any of the methods below; its yaml key is its name. Several
apply in the order of their names, so that the order on the command line does not matter. They are
part of the identity of the model they were applied to.
"""

from mia_bench.mitigations.base import (
    AugmentsImages,
    Captions,
    Checks,
    DrawsRows,
    FiltersRows,
    FiltersUpdate,
    Mitigation,
    PrivateTraining,
    ReadsFile,
    RewritesCaptions,
    SetsRecipe,
    StopsEarly,
    TakesCaptions,
    TrainingContext,
    TrainingSetup,
    TrainsProxy,
)
from mia_bench.mitigations.together import apply_mitigations

__all__ = [
    "AugmentsImages",
    "Captions",
    "Checks",
    "DrawsRows",
    "FiltersRows",
    "FiltersUpdate",
    "Mitigation",
    "PrivateTraining",
    "ReadsFile",
    "RewritesCaptions",
    "SetsRecipe",
    "StopsEarly",
    "TakesCaptions",
    "TrainingContext",
    "TrainingSetup",
    "TrainsProxy",
    "apply_mitigations",
]
