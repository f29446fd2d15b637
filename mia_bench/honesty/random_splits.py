"""Random re-splits of features that no membership shaped: intervals of AUC must contain 0.5.

The features are those of an attack on the untouched base, so whom a split calls a member means
nothing. Rows, groups and sizes are those of a run; only who is a member is drawn again, by the code
that makes splits. Nothing is fitted on labels: alpha is fixed, the scaler sees features alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mia_bench.attacks import Calibration, Floats
from mia_bench.attacks.clid import CLiD
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role, RoleSizes, assign
from mia_bench.metrics import Bools, Thresholds
from mia_bench.metrics.summary import evaluate
from mia_bench.storage.feature_table import Table, read_table

ALPHA = 0.5
NO_THRESHOLD = Thresholds(0.0, None, 0, "none is needed")


@dataclass(frozen=True)
class Base:
    """CLiD's features of the evaluation rows on the base, and their near-duplicate groups."""

    table: Table
    group: Sequence[str]

    @classmethod
    def of(cls, features: Path, split: Split) -> Base:
        """From a stored feature table and the split its rows belong to."""
        groups = {row.sample_id: row.group for row in split.table}
        table = read_table(features)
        return cls(table, [groups[sid] for sid in table.sample_id])

    def scores(self) -> Floats:
        """(N,) by CLiD with `ALPHA`."""
        n = len(self.table.sample_id)
        nobody = Calibration(self.table.features, np.zeros(n, dtype=bool), np.array(self.group))
        return CLiD(alpha=ALPHA).score(self.table.features, nobody)


def split(group: Sequence[str], members: int, seed: int) -> Bools:
    """(N,) who is a member in a random split by whole groups, about `members` of them."""
    sizes = RoleSizes(members, len(group) - members, 0, 0, 0)
    roles = assign(group, sizes, seed)
    return np.array([role == Role.TARGET_MEMBER for role in roles])


def holds_chance(
    scores: Floats, group: Sequence[str], members: int, splits: int, resamples: int
) -> list[bool]:
    """For each split: does the interval of AUC hold 0.5?"""
    held = []
    for seed in range(splits):
        member = split(group, members, seed)
        auroc = evaluate(scores, member, group, NO_THRESHOLD, seed, resamples)["auroc"]
        held.append(bool(auroc["lo"] <= 0.5 <= auroc["hi"]))
    return held
