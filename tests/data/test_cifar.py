"""CIFAR in its two distributions, in miniature: pictures, order, pools, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus import encode
from miniature import table
from PIL import Image

from mia_bench.data.cifar import Cifar
from mia_bench.utils.errors import MiaError, Missing

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (14, 32, 32, 3), dtype=np.uint8)


def records(pictures: np.ndarray, labels: list[int]) -> bytes:
    """As the binary distribution lays them out: labels, then planes."""
    return b"".join(bytes(labels) + p.transpose(2, 0, 1).tobytes() for p in pictures)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """Two pictures in each of the five training files, four in the test file."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i in range(5):
        (folder / f"data_batch_{i + 1}.bin").write_bytes(records(PICTURES[2 * i : 2 * i + 2], [i]))
    (folder / "test_batch.bin").write_bytes(records(PICTURES[10:], [9]))
    return tmp_path


def test_binary_records_are_pictures_in_their_order(ten):
    made = Cifar(str(ten), complete=False).items()
    assert [item.name for item in made.items] == [f"{i:05d}" for i in range(14)]
    by_name = {item.name: item for item in made.items}
    for i in range(10):
        item = by_name[f"{i:05d}"]
        np.testing.assert_array_equal(np.asarray(item.load(32)), PICTURES[i])
        assert (item.pool, item.caption) == ("train", "")
    assert by_name["00013"].pool == "test"


def test_a_hundred_classes_have_two_labels(tmp_path):
    (tmp_path / "train.bin").write_bytes(records(PICTURES[:3], [19, 99]))
    (tmp_path / "test.bin").write_bytes(records(PICTURES[3:5], [0, 0]))
    made = Cifar(str(tmp_path), 100, complete=False).items()
    assert len(made.items) == 5
    found = {item.name: item for item in made.items}["00002"]
    np.testing.assert_array_equal(np.asarray(found.load(32)), PICTURES[2])


def test_the_hubs_parquet_files(tmp_path):
    for pool, part in (("train", PICTURES[:4]), ("test", PICTURES[4:6])):
        cells = [{"bytes": encode(Image.fromarray(p), "PNG"), "path": None} for p in part]
        table(
            tmp_path / f"plain_text/{pool}-00000-of-00001.parquet", img=cells, label=[0] * len(part)
        )
    made = {item.name: item for item in Cifar(str(tmp_path), complete=False).items().items}
    assert len(made) == 6
    np.testing.assert_array_equal(np.asarray(made["00003"].load(32)), PICTURES[3])


def test_damaged_files_are_refused(ten):
    path = ten / "cifar-10-batches-bin/data_batch_3.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(MiaError, match=r"data_batch_3\.bin has 6,145 bytes, .*truncated"):
        Cifar(str(ten), complete=False).items()
    path.write_bytes(bytes([10]) + whole[1:])
    with pytest.raises(MiaError, match="the label 10 in record 0, of 10 classes"):
        Cifar(str(ten), complete=False).items()
    path.write_bytes(whole)
    with pytest.raises(MiaError, match=r"10 train pictures in .*official files 50,000"):
        Cifar(str(ten)).items()


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ({"label": [3, 10]}, 10, "the label 10 in row 1, and CIFAR-10 has labels below 10"),
        ({"label": [3, None]}, 10, "the label None in row 1"),
        ({"fine_label": [3, 4]}, 10, "the fine_label 3 in row 0, and CIFAR-10 has none there"),
        ({"fine_label": [3, 99], "coarse_label": [1, 20]}, 100, "the coarse_label 20 in row 1"),
        ({"label": [*range(10)] * 10}, 100, "labels of ten classes: it is of CIFAR-10"),
    ],
)
def test_labels_of_another_set_are_refused(labels, classes, words, tmp_path):
    rows = len(next(iter(labels.values())))
    cells = [{"bytes": encode(Image.fromarray(PICTURES[0]), "PNG"), "path": None}] * rows
    for pool in ("train", "test"):
        table(tmp_path / f"{pool}.parquet", img=cells, **labels)
    with pytest.raises(MiaError, match=words):
        Cifar(str(tmp_path), classes, complete=False).items()


def test_without_files_the_message_says_where_they_go(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"a pickle")
    with pytest.raises(Missing, match=r"data_batch_1\.bin.* is a pickle, which is not opened"):
        Cifar(str(tmp_path)).items()
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"packed")
    with pytest.raises(Missing, match=r"cifar-10-binary\.tar\.gz there is packed: unpack it"):
        Cifar(str(tmp_path)).items()
    table(tmp_path / "train.parquet", label=[0])
    with pytest.raises(MiaError, match="has the columns label: a picture column"):
        Cifar(str(tmp_path)).items()
