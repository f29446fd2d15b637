"""What an attack is: one frozen dataclass per published method, one file each.

`features` asks a target its questions, batch by batch, and is the expensive half. `score` turns
stored features into one number per row (higher = more likely a member), fitting whatever it fits on
calibration rows. Fields marked `score_field` matter to `score` alone: changing one costs no query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

    from mia_bench.target import Batch, Target

Floats = npt.NDArray[np.float64]
Features = Mapping[str, npt.NDArray[np.floating[Any]]]


class Access(IntEnum):
    """What an attack may touch: generations, noise predictions and latents, or gradients too."""

    BLACK_BOX = 1
    GREY_BOX = 2
    WHITE_BOX = 3


@dataclass(frozen=True)
class Calibration:
    """Rows whose membership the attacker knows: stored features, labels, near-duplicate groups."""

    features: Features
    is_member: npt.NDArray[np.bool_]
    group: npt.NDArray[np.str_]
    seed: int = 0

    def take(self, rows: npt.NDArray[np.intp]) -> Calibration:
        picked = {name: values[rows] for name, values in self.features.items()}
        return Calibration(picked, self.is_member[rows], self.group[rows], self.seed)


class Attack(Protocol):
    access: ClassVar[Access]
    version: ClassVar[int]
    """Bumped when the numbers change, so that stored features of older code are not reused."""

    @property
    def statistics(self) -> bool:
        """Features are statistics, for which a difference to the base model's means something."""

    @property
    def nfe(self) -> tuple[int, int]:
        """Most U-Net (forward, backward) evaluations per sample; equal questions are asked once."""

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """Statistics of a batch, each (B, *f), on the target's device; never sees labels."""

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """(N,) row by row: score(features[rows]) == score(features)[rows]."""


@runtime_checkable
class Fitted(Protocol):
    """An attack that can say what it chose on the calibration rows."""

    def chosen(self, calibration: Calibration) -> dict[str, float]: ...


def score_field(default: Any = MISSING) -> Any:
    """A dataclass field that only `score` reads; it is left out of the identity of features."""
    return field(default=default, metadata={"stage": "score"})


def query_fields(attack: Attack) -> dict[str, Any]:
    """Name and value of every field that decides which questions `features` asks."""
    every: tuple[Field[Any], ...] = fields(attack)  # type: ignore[arg-type]
    return {f.name: getattr(attack, f.name) for f in every if f.metadata.get("stage") != "score"}


def score_fields(attack: Attack) -> dict[str, Any]:
    every: tuple[Field[Any], ...] = fields(attack)  # type: ignore[arg-type]
    return {f.name: getattr(attack, f.name) for f in every if f.metadata.get("stage") == "score"}
