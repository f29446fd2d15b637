"""Stored features beside what the protocol knows of their rows, and honest calibration scores.

Everything fitted comes from calibration rows. Their own scores, from which thresholds come, are
out-of-fold by near-duplicate group: in-sample scores of a flexible classifier would be too good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mia_bench.attacks import Calibration
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role
from mia_bench.storage.feature_table import Table, read_table

MEMBER_ROLES = (Role.TARGET_MEMBER, Role.SHADOW_MEMBER)


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of some rows with what the protocol, not the attack, knows about them."""

    table: Table
    role: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]

    @property
    def is_member(self) -> npt.NDArray[np.bool_]:
        members: npt.NDArray[np.bool_] = np.isin(self.role, [str(role) for role in MEMBER_ROLES])
        return members

    def take(self, rows: npt.NDArray[np.intp]) -> LabelledFeatures:
        return LabelledFeatures(self.table.take(rows), self.role[rows], self.group[rows])

    def minus(self, base: LabelledFeatures) -> LabelledFeatures:
        """Base-calibrated features: what the untouched base already says is subtracted."""
        other = base.table.select(self.table.sample_id)
        features = {n: values - other.features[n] for n, values in self.table.features.items()}
        return LabelledFeatures(Table(self.table.sample_id, features), self.role, self.group)

    def calibration(self, seed: int) -> Calibration:
        return Calibration(self.table.features, self.is_member, self.group, seed)


def load_labelled(features: Path, sample_id: Sequence[str], split: Split) -> LabelledFeatures:
    """The rows `sample_id` of a feature table, with role and group as the split has them."""
    table = read_table(features).select(sample_id)
    row = {r.sample_id: r for r in split.table}
    return LabelledFeatures(
        table,
        np.array([str(row[sid].role) for sid in table.sample_id]),
        np.array([row[sid].group for sid in table.sample_id]),
    )
