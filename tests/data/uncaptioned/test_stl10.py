"""STL-10 in its binary version, column after column, and as the hub's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus import encode
from miniature import table, write
from PIL import Image

from mia_bench.data.uncaptioned.stl10 import Stl10
from mia_bench.utils.errors import MiaError, Missing

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)


def literal_bytes(picture: np.ndarray) -> bytes:
    """All of red, then green, then blue, each column by column."""
    return bytes(
        picture[row, column, channel]
        for channel in range(3)
        for column in range(96)
        for row in range(96)
    )


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    parts = {"unlabeled": PICTURES[:2], "train": PICTURES[2:3], "test": PICTURES[3:]}
    for part, pictures in parts.items():
        data = b"".join(map(literal_bytes, pictures))
        write(tmp_path / f"stl10_binary/{part}_X.bin", data)
    return tmp_path


def test_planes_and_columns_are_pictures(binary: Path) -> None:
    made = Stl10(str(binary), complete=False).items()
    by_name = {item.name: item for item in made.items}
    assert list(by_name) == ["test/000000", "unlabeled/000000", "unlabeled/000001"]
    for name, expected in (("unlabeled/000001", PICTURES[1]), ("test/000000", PICTURES[3])):
        np.testing.assert_array_equal(np.asarray(by_name[name].load(96)), expected)
    unlabelled = [by_name[f"unlabeled/00000{i}"].sample_id for i in range(2)]
    assert made.official == (*unlabelled, by_name["test/000000"].sample_id)


def test_positions_count_in_the_part_that_is_chosen(binary: Path) -> None:
    made = Stl10(str(binary), "train", complete=False).items()
    first = next(item for item in made.items if item.sample_id == made.official[0])
    assert (first.name, first.pool) == ("train/000000", "train")


def test_the_hubs_tables(tmp_path: Path) -> None:
    for pool, array in zip(("unsupervised", "test"), PICTURES, strict=False):
        cells = [{"bytes": encode(Image.fromarray(array), "PNG"), "path": None}]
        table(tmp_path / f"data/{pool}-00000-of-00001.parquet", image=cells)
    made = Stl10(str(tmp_path), complete=False).items()
    assert [item.pool for item in made.items] == ["test", "unlabeled"]
    np.testing.assert_array_equal(np.asarray(made.items[1].load(96)), PICTURES[0])


def test_damaged_and_missing_files(binary: Path, tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"has 2 unlabeled pictures, and the official files 100,000"):
        Stl10(str(binary)).items()
    path = binary / "stl10_binary/test_X.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MiaError, match=r"test_X\.bin has 27,647 bytes, .*truncated"):
        Stl10(str(binary), complete=False).items()
    with pytest.raises(Missing, match=r"looks for unlabeled_X\.bin"):
        Stl10(str(tmp_path / "nowhere")).items()
