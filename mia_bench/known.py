"""Stored features beside what the protocol knows of their rows, and honest calibration scores.

Everything fitted comes from calibration rows. Their own scores, from which thresholds come, are
out-of-fold by near-duplicate group: in-sample scores of a flexible classifier would be too good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mia_bench.attacks import Attack, Calibration, Floats
from mia_bench.data.membership import Role, Split
from mia_bench.errors import MiaError
from mia_bench.features import Table, read_table

if TYPE_CHECKING:
    from mia_bench.ensemble import Ensemble

MEMBERS = (Role.TARGET_MEMBER, Role.SHADOW_MEMBER)


@dataclass(frozen=True)
class Known:
    """Features of some rows with what the protocol, not the attack, knows about them."""

    table: Table
    role: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]

    @property
    def is_member(self) -> npt.NDArray[np.bool_]:
        members: npt.NDArray[np.bool_] = np.isin(self.role, [str(role) for role in MEMBERS])
        return members

    def take(self, rows: npt.NDArray[np.intp]) -> Known:
        return Known(self.table.take(rows), self.role[rows], self.group[rows])

    def minus(self, base: Known) -> Known:
        """Base-calibrated features: what the untouched base already says is subtracted."""
        other = base.table.select(self.table.sample_id)
        features = {n: values - other.features[n] for n, values in self.table.features.items()}
        return Known(Table(self.table.sample_id, features), self.role, self.group)

    def calibration(self, seed: int) -> Calibration:
        return Calibration(self.table.features, self.is_member, self.group, seed)


def folds_of(group: npt.NDArray[np.str_], folds: int, seed: int) -> npt.NDArray[np.intp]:
    """Fold of each row, decided by its group alone."""
    hashes = (hashlib.blake2b(f"{seed}|{g}".encode(), digest_size=8).digest() for g in group)
    return np.array([int.from_bytes(h, "little") % folds for h in hashes], dtype=np.intp)


def calibrating(group: npt.NDArray[np.str_], seed: int) -> npt.NDArray[np.bool_]:
    """The half of the rows that calibration=split keeps to calibrate on, by their groups alone.

    Labelled "half", so that it cuts across the folds of any number: with the hash of `folds_of`
    every calibration row would share one of two folds.
    """
    labelled = np.array([f"half|{g}" for g in group])
    half: npt.NDArray[np.bool_] = folds_of(labelled, 2, seed) == 1
    return half


def out_of_fold(attack: Attack | Ensemble, known: Known, folds: int, seed: int) -> Floats:
    """(N,) scores of calibration rows, each from a calibration without its own fold.

    Raises:
        MiaError: a fold leaves fewer than two rows of a class to fit on.
    """
    fold = folds_of(known.group, folds, seed)
    scores = np.zeros(len(fold))
    for k in np.unique(fold):
        inside, outside = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        rest = known.take(outside).calibration(seed)
        if min(rest.is_member.sum(), (~rest.is_member).sum()) < 2:
            raise MiaError(
                f"{len(fold)} calibration rows are too few for {folds} folds by group: use larger "
                "data.sizes for the shadow roles or a smaller calibration.folds."
            )
        scores[inside] = attack.score(known.take(inside).table.features, rest)
    return scores


def known_rows(features: Path, sample_id: Sequence[str], split: Split) -> Known:
    """The rows `sample_id` of a feature table, with role and group as the split has them."""
    table = read_table(features).select(sample_id)
    row = {r.sample_id: r for r in split.table}
    return Known(
        table,
        np.array([str(row[sid].role) for sid in table.sample_id]),
        np.array([row[sid].group for sid in table.sample_id]),
    )
