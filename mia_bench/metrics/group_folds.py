"""Folds over near-duplicate groups, and the half of the rows that calibrates."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


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
