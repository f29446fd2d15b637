"""Folds over near-duplicate groups, and the half of the rows that calibrates."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def folds_of(group: npt.NDArray[np.str_], folds: int, seed: int) -> npt.NDArray[np.intp]:
    """Fold of each row, decided by its group alone."""
    draws = (int.from_bytes(_draw(g, seed), "little") for g in group)
    return np.array([draw % folds for draw in draws], dtype=np.intp)


def calibrating(group: npt.NDArray[np.str_], seed: int) -> npt.NDArray[np.bool_]:
    """The half of the rows that calibration=split keeps to calibrate on, by their groups alone.

    Labelled "half", so that it cuts across the folds of any number: with the hash of `folds_of`
    every calibration row would share one of two folds.
    """
    labelled = np.array([f"half|{g}" for g in group])
    half: npt.NDArray[np.bool_] = folds_of(labelled, 2, seed) == 1
    return half


def stratified_folds(
    group: npt.NDArray[np.str_], is_member: npt.NDArray[np.bool_], folds: int, seed: int
) -> npt.NDArray[np.intp]:
    """Fold of each row (N,): groups of either class dealt in turn, in the order of a seeded hash.

    Each class has nearly as many groups in every fold, which `folds_of` gives only on average: of
    30 rows it may put 20 into one half. A group with both classes counts with its first row.
    """
    names, first, where = np.unique(group, return_index=True, return_inverse=True)
    fold = np.zeros(len(names), dtype=np.intp)
    for kind in (True, False):
        mine = np.flatnonzero(is_member[first] == kind)
        order = sorted(mine, key=lambda g: _draw(str(names[g]), seed))
        start = 0 if kind else len(order)  # the odd group of each class in another fold
        for place, g in enumerate(order):
            fold[g] = (start + place) % folds
    return fold[where]


def stratified_half(
    group: npt.NDArray[np.str_], is_member: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.bool_]:
    """As `calibrating`, with half of the groups of each class."""
    labelled = np.array([f"half|{g}" for g in group])
    half: npt.NDArray[np.bool_] = stratified_folds(labelled, is_member, 2, seed) == 1
    return half


def _draw(group: str, seed: int) -> bytes:
    """A group's random bytes, by its name and the seed alone."""
    return hashlib.blake2b(f"{seed}|{group}".encode(), digest_size=8).digest()
