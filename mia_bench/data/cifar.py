"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 60,000 pictures of 32 px in classes, without captions.

Two distributions are read. The binary one has records of one label byte (CIFAR-10) or two
(CIFAR-100: coarse, fine) and 3,072 bytes of red, green and blue planes. The hub's has parquet files
whose names begin with train or test. The third, for Python, is a pickle and is refused.

Pictures are called by their place in the official order, 00000 to 49999 for training and 50000 to
59999 for test, in which the arrays of published splits count; the pools are `train` and `test`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from mia_bench.data.pictures.image_file import decode
from mia_bench.data.source import Item, Listing, ordered_listing, sample_id
from mia_bench.utils.errors import MiaError, Missing

SIDE_PIXELS = 32
PICTURE_BYTES = 3 * SIDE_PIXELS**2
CLASSES = {10: (10,), 100: (20, 100)}  # values of each label byte
BINARY: dict[int, dict[str, tuple[str, ...]]] = {  # files of the binary distribution, by pool
    10: {
        "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    100: {"train": ("train.bin",), "test": ("test.bin",)},
}
ROWS = {"train": 50_000, "test": 10_000}
PICTURE_COLUMNS = ("img", "image")
LABEL_COLUMNS = {10: {"label": 10}, 100: {"fine_label": 100, "coarse_label": 20, "label": 100}}
"""Of the hub's files, with the number of their values; some copies of CIFAR-100 say label."""
ENOUGH_ROWS = 100  # of CIFAR-100, for a label above 9 to be among them


@dataclass(frozen=True)
class Cifar:
    """Args:
    root: a folder with the files of either distribution, at any depth.
    classes: 10 or 100.
    complete: refuse files that hold fewer pictures than the official ones.
    """

    root: str
    classes: Literal[10, 100] = 10
    complete: bool = True
    licence: ClassVar[str] = "not stated by its authors; pictures from the web"

    @property
    def name(self) -> str:
        return f"cifar{self.classes}"

    def items(self) -> Listing:
        """Both pools. Raises Missing without files, MiaError for files that are not CIFAR's."""
        root = Path(self.root).expanduser()
        items: list[Item] = []
        for pool in ROWS:
            pictures = list(self._pictures(root, pool))
            if self.complete and len(pictures) != ROWS[pool]:
                raise MiaError(
                    f"data={self.name} has {len(pictures):,} {pool} pictures in {root}, and the "
                    f"official files {ROWS[pool]:,}: fetch them again, or use a part of them with "
                    "data.source.complete=false."
                )
            items += [
                Item(sample_id(self.name, data), "", f"{i:05d}", load, pool)
                for i, (data, load) in enumerate(pictures, len(items))
            ]
        return ordered_listing(items)

    def _pictures(self, root: Path, pool: str) -> Iterator[tuple[bytes, Any]]:
        """(bytes, what decodes them) of every picture of a pool in its order."""
        files = [sorted(root.rglob(name)) for name in BINARY[self.classes][pool]]
        if all(files):
            for paths in files:
                yield from self._records(paths[0])
            return
        tables = [p for p in sorted(root.rglob("*.parquet")) if p.name.startswith(pool)]
        if not tables:
            raise Missing(self._advice(root, pool))
        for table in tables:
            self._check_labels(table)
            yield from _rows(table)

    def _records(self, path: Path) -> Iterator[tuple[bytes, Any]]:
        """Records of a binary file. Raises MiaError where it is truncated or labels are wrong."""
        labels = len(CLASSES[self.classes])
        size = labels + PICTURE_BYTES
        data = path.read_bytes()
        if not data or len(data) % size:
            raise MiaError(
                f"{path} has {len(data):,} bytes, which are no whole records of {size:,}: it is "
                f"truncated, or not of CIFAR-{self.classes}. Fetch it again."
            )
        table = np.frombuffer(data, np.uint8).reshape(-1, size)
        for column, values in enumerate(CLASSES[self.classes]):
            if (wrong := table[:, column] >= values).any():
                row = int(np.flatnonzero(wrong)[0])
                raise MiaError(
                    f"{path} has the label {table[row, column]} in record {row}, of {values} "
                    f"classes: it is damaged, or not of CIFAR-{self.classes}. Fetch it again."
                )
        for row in range(len(table)):
            begin = row * size + labels
            yield data[begin : begin + PICTURE_BYTES], partial(_load_record, path, begin)

    def _check_labels(self, path: Path) -> None:
        """Raises MiaError for a parquet file whose labels are those of another data set."""
        table = _read(path, [*LABEL_COLUMNS[100]])
        alone = table.get("label", []) if "fine_label" not in table else []
        highest = max((label or 0 for label in alone), default=0)
        if self.classes == 100 and len(alone) >= ENOUGH_ROWS and highest < 10:
            raise MiaError(f"{path} has the labels of ten classes: it is of CIFAR-10, not of 100.")
        for name, cells in table.items():
            values = LABEL_COLUMNS[self.classes].get(name, 0)
            labels = [-1 if cell is None else cell for cell in cells]
            wrong = [row for row, label in enumerate(labels) if not 0 <= label < values]
            if wrong:
                raise MiaError(
                    f"{path} has the {name} {cells[wrong[0]]} in row {wrong[0]}, and CIFAR-"
                    f"{self.classes} has {f'labels below {values}' if values else 'none'} there: "
                    f"it is damaged, or not of CIFAR-{self.classes}. Fetch it again."
                )

    def _advice(self, root: Path, pool: str) -> str:
        binary = ", ".join(BINARY[self.classes][pool])
        pickles = sorted(root.rglob("data_batch_1")) + sorted(root.rglob("train"))
        note = " The Python version there is a pickle, which is not opened." if pickles else ""
        if packed := sorted(root.rglob("cifar-*.tar*")):
            note = f" {packed[0].name} there is packed: unpack it with tar -xf."
        return (
            f"data={self.name} looks for {binary} of the binary version "
            f"(https://www.cs.toronto.edu/~kriz/cifar.html), or for {pool}*.parquet of the hub "
            f"(uoft-cs/{self.name}), in {root}.{note} data.source.root=<folder> points elsewhere. "
            "data=openmoji works now."
        )


def _rows(path: Path) -> Iterator[tuple[bytes, Any]]:
    """Pictures of a parquet file. Raises MiaError where it has none."""
    columns = _read(path, PICTURE_COLUMNS)
    if not columns:
        names = ", ".join(_column_names(path))
        raise MiaError(f"{path} has the columns {names}: a picture column img or image is needed.")
    for row, cell in enumerate(next(iter(columns.values()))):
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise MiaError(f"{path} holds no picture in row {row}.")
        yield data, partial(_load_bytes, data)


def _column_names(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    names: list[str] = pq.read_schema(path).names
    return names


def _read(path: Path, wanted: Sequence[str]) -> dict[str, list[Any]]:
    """The columns of a parquet file that are there. Raises MiaError where it cannot be read."""
    import pyarrow.parquet as pq

    try:
        names = _column_names(path)
        there = [name for name in wanted if name in names]
        table = pq.read_table(path, columns=there) if there else None
        return {} if table is None else {name: table[name].to_pylist() for name in there}
    except Exception as error:  # whatever a damaged file does to its reader
        first = str(error).partition("\n")[0].rstrip(".")
        raise MiaError(f"{path} cannot be read as parquet: {first}. Fetch it again.") from error


def _load_record(path: Path, begin: int, _: int) -> Image.Image:
    with path.open("rb") as file:
        file.seek(begin)
        planes = np.frombuffer(file.read(PICTURE_BYTES), np.uint8)
    return Image.fromarray(planes.reshape(3, SIDE_PIXELS, SIDE_PIXELS).transpose(1, 2, 0).copy())


def _load_bytes(data: bytes, _: int) -> Image.Image:
    return decode(data)
