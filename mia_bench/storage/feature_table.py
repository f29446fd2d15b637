"""Feature tables on disk: sample ids and one fixed-shape float array per feature, as parquet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mia_bench.storage.files import replacing
from mia_bench.storage.hashing import canonical
from mia_bench.utils.errors import MiaError

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Table:
    """`features[name]` is (N, *f) float32, row i belongs to `sample_id[i]`."""

    sample_id: tuple[str, ...]
    features: Mapping[str, Array]

    def take(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Table:
        index = np.asarray(rows, dtype=np.intp)
        ids = tuple(self.sample_id[i] for i in index)
        return Table(ids, {name: values[index] for name, values in self.features.items()})

    def select(self, sample_id: Sequence[str]) -> Table:
        """Rows in the order of `sample_id`."""
        where = {sid: row for row, sid in enumerate(self.sample_id)}
        return self.take([where[sid] for sid in sample_id])


def write_table(path: Path, table: Table, note: Mapping[str, Any] | None = None) -> None:
    """Atomic: a kill leaves no half shard under the final name. `note`: see `read_note`."""
    columns: dict[str, Any] = {"sample_id": pa.array(table.sample_id, pa.string())}
    shapes, flat = {}, {}
    for name, values in table.features.items():
        flat[name] = np.ascontiguousarray(values, dtype=np.float32).reshape(len(values), -1)
        columns[name] = pa.FixedSizeListArray.from_arrays(flat[name].ravel(), flat[name].shape[1])
        shapes[name] = list(values.shape[1:])
    metadata = {"shapes": json.dumps(shapes), "note": json.dumps(note or {})}
    metadata["digest"] = _digest(table.sample_id, flat, metadata)
    arrow = pa.table(columns).replace_schema_metadata(metadata)
    with replacing(path) as partial:
        pq.write_table(arrow, partial)


def read_note(path: Path) -> dict[str, Any]:
    """What was written down beside a table."""
    note: dict[str, Any] = json.loads(pq.read_schema(path).metadata.get(b"note", b"{}"))
    return note


def read_table(path: Path) -> Table:
    """Raises MiaError for a file that cannot be read, or is not what was written."""
    try:
        return _read(path)
    except Exception as error:  # whatever a reader trips over in a damaged file
        raise MiaError(f"cannot read {path}: {error}. Delete its folder and run again.") from error


def _read(path: Path) -> Table:
    arrow = pq.read_table(path)
    metadata = {
        key.decode(): value.decode() for key, value in (arrow.schema.metadata or {}).items()
    }
    shapes = json.loads(metadata["shapes"])
    rows, ids = len(arrow), tuple(arrow.column("sample_id").to_pylist())
    flat = {
        name: arrow.column(name).combine_chunks().flatten().to_numpy().reshape(rows, -1)
        for name in shapes
    }
    digest = metadata.pop("digest", None)
    if digest is not None and digest != _digest(ids, flat, metadata):
        raise ValueError("its content changed since it was written")
    return Table(ids, {name: flat[name].reshape(-1, *shape) for name, shape in shapes.items()})


def _digest(ids: Sequence[str], flat: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """Of all a reader sees: parquet itself would hand out flipped bytes."""
    seen = hashlib.blake2b(canonical([list(ids), metadata["shapes"], metadata["note"]]).encode())
    for name in sorted(flat):
        seen.update(np.ascontiguousarray(flat[name]).tobytes())
    return seen.hexdigest()[:32]
