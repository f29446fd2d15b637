"""Scores of members and of non-members as two files without ids, as several papers publish them.

CopyMark and CLiD release one array of scores for each class. Taken are .npy (never unpickled),
.json (a list, or an object with one list in it) and tables of one numeric column (.csv, .tsv, both
also .gz). Files of torch (.pth, .pt, .bin, .pkl) are refused: they can run code when they are read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mia_bench.storage.files import require_unfolded
from mia_bench.utils.errors import MiaError

Floats = npt.NDArray[np.float64]
PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".npz")
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
MAX_FILE_BYTES = 2 << 30
MAX_JSON_BYTES = 256 << 20


def table_of_arrays(members: Path, nonmembers: Path, negate: bool = False) -> pd.DataFrame:
    """Rows in the columns of `score_table.COLUMNS`; ids are positions, each a group of its own.

    Raises:
        MiaError: a file cannot be read, holds no vector of numbers, or numbers that are not finite.
    """
    parts = []
    for path, is_member in ((members, True), (nonmembers, False)):
        scores = read_array(path) * (-1 if negate else 1)
        name = "member" if is_member else "nonmember"
        ids = [f"{name}:{i}" for i in range(len(scores))]
        rows = {"sample_id": ids, "group": ids, "is_member": is_member, "calibration": False}
        parts.append(pd.DataFrame({**rows, "score": scores}))
    return pd.concat(parts, ignore_index=True)


def read_array(path: Path) -> Floats:
    """The numbers (N,) in a file. Raises MiaError as `table_of_arrays` does."""
    name = path.name.lower()
    if name.endswith(PICKLED):
        raise MiaError(
            f"{path} is not read: such a file can run code. Save the scores as .npy: "
            "numpy.save('scores.npy', numpy.asarray(scores))."
        )
    if not path.is_file():
        raise MiaError(f"{path} is not a file.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise MiaError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB.")
    try:
        values = np.asarray(_read(path, name), dtype=np.float64)
    except MiaError:
        raise
    except Exception as error:  # parsers of four formats raise what they like
        raise MiaError(f"cannot read {path}: {error}") from error
    values = values.squeeze()
    if values.ndim != 1 or not values.size:
        raise MiaError(
            f"{path} holds numbers of shape {values.shape}: one score a row is expected."
        )
    if bad := int((~np.isfinite(values)).sum()):
        raise MiaError(f"{path}: {bad} of {values.size} scores are no finite numbers.")
    return values


def _read(path: Path, name: str) -> Any:
    if name.endswith(".npy"):
        return np.load(path, allow_pickle=False, mmap_mode="r")
    if name.endswith(".json"):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise MiaError(f"{path} is larger than {MAX_JSON_BYTES >> 20} MiB.")
        return _list_in(json.loads(path.read_text(encoding="utf-8")), path)
    if not name.endswith(TABLES):
        raise MiaError(f"{path}: .npy, .json, .csv, .tsv, .csv.gz or .tsv.gz is expected.")
    require_unfolded(path, MAX_FILE_BYTES)
    separator = "\t" if ".tsv" in name else ","
    table = pd.read_csv(path, sep=separator, header=None, dtype=str, keep_default_na=False)
    if table.shape[1] != 1:
        raise MiaError(f"{path} has {table.shape[1]} columns: one column of scores is expected.")
    column = table[0]
    if pd.to_numeric(column.iloc[:1], errors="coerce").isna().all():  # a heading
        column = column.iloc[1:]
    return pd.to_numeric(column, errors="raise")


def _list_in(value: Any, path: Path) -> Any:
    """A list, or the only list of an object."""
    if isinstance(value, dict):
        lists = [entry for entry in value.values() if isinstance(entry, list)]
        if len(lists) != 1:
            raise MiaError(f"{path} holds {len(lists)} lists: one list of scores is expected.")
        return lists[0]
    return value
