"""Tiny ImageNet as its authors pack it, sorted by somebody, and as the hub's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus import encode, picture
from miniature import table, write

from mia_bench.data.pictures.image_file import decode
from mia_bench.data.split.published import published_rows
from mia_bench.data.uncaptioned.tiny_imagenet import TinyImageNet
from mia_bench.utils.errors import MiaError, Missing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two pictures, of which one is a copy, and the rest of the distribution."""
    base = tmp_path / "tiny-imagenet-200"
    for seed, name in enumerate(("n02/images/n02_1", "n01/images/n01_10", "n01/images/n01_2")):
        write(base / "train" / f"{name}.JPEG", encode(picture(seed), "JPEG"))
    write(base / "train/n02/images/n02_0.JPEG", encode(picture(1), "JPEG"))
    write(base / "train/n01/n01_boxes.txt", "n01_10.JPEG\t0\t0\t63\t63\n")
    write(base / "val/images/val_0.JPEG", encode(picture(7), "JPEG"))
    write(base / "val/val_annotations.txt", "val_0.JPEG\tn01\t0\t0\t63\t63\n")
    write(base / "test/images/test_0.JPEG", encode(picture(8), "JPEG"))
    return tmp_path


def test_classes_then_files_are_the_order_of_positions(folder: Path) -> None:
    made = TinyImageNet(str(folder), complete=False).items()
    ids = {item.name: item.sample_id for item in made.items}
    in_order = ("n01/images/n01_10", "n01/images/n01_2", "n02/images/n02_0", "n02/images/n02_1")
    places = [f"train/{name}.JPEG" for name in in_order]
    assert list(ids) == [*(p for p in places if "n02_0" not in p), "val/images/val_0.JPEG"]
    copy = ids[places[0]]
    assert made.official == (copy, ids[places[1]], copy, ids[places[3]], ids[list(ids)[-1]])
    assert [item.pool for item in made.items] == ["train"] * 3 + ["val"]
    assert made.items[0].load(64).size == picture(1).size


def test_the_root_may_be_the_folder_itself(folder: Path) -> None:
    inside = TinyImageNet(str(folder / "tiny-imagenet-200"), complete=False).items()
    assert inside.official == TinyImageNet(str(folder), complete=False).items().official


def test_positions_count_copies(folder: Path, tmp_path: Path) -> None:
    made = TinyImageNet(str(folder), complete=False).items()
    np.savez(tmp_path / "split.npz", mia_train_idxs=[1, 2], mia_eval_idxs=[3])
    rows = published_rows(tmp_path / "split.npz", made)
    assert [row["sample_id"] for row in rows] == [made.official[i] for i in (1, 2, 3)]


def test_the_hubs_tables(tmp_path: Path) -> None:
    for file, seeds in (("train-00000-of-00001", (0, 1)), ("valid-00000-of-00001", (2,))):
        cells = [{"bytes": encode(picture(s), "JPEG"), "path": None} for s in seeds]
        table(tmp_path / f"data/{file}.parquet", image=cells, label=[0] * len(cells))
    made = TinyImageNet(str(tmp_path), complete=False).items()
    assert [item.name for item in made.items] == ["train/000000", "train/000001", "val/000000"]
    expected = decode(encode(picture(1), "JPEG"))
    np.testing.assert_array_equal(np.asarray(made.items[1].load(64)), np.asarray(expected))


def test_too_few_pictures_and_none_are_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"has 4 train pictures, and the official files 100,000"):
        TinyImageNet(str(folder)).items()
    with pytest.raises(Missing, match="looks for tiny-imagenet-200/train"):
        TinyImageNet(str(tmp_path / "nowhere")).items()
