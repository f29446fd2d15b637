"""CelebA with its authors' partition, Kaggle's copy, and the hub's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus import encode
from miniature import table, write
from PIL import Image

from mia_bench.data.uncaptioned.celeba import CelebA, centre
from mia_bench.utils.errors import MiaError, Missing

RNG = np.random.default_rng(0)
FACES = [Image.fromarray(RNG.integers(0, 256, (218, 178, 3), dtype=np.uint8)) for _ in range(4)]
PARTITION = [("000001.jpg", 0), ("000002.jpg", 0), ("000003.jpg", 1), ("000004.jpg", 2)]


def faces(folder: Path) -> None:
    for (name, _), face in zip(PARTITION, FACES, strict=True):
        write(folder / name, encode(face, "JPEG"))


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    faces(tmp_path / "Img/img_align_celeba")
    lines = "".join(f"{name} {number}\n" for name, number in PARTITION)
    write(tmp_path / "Eval/list_eval_partition.txt", lines)
    return tmp_path


def test_the_partition_of_its_authors(authors: Path) -> None:
    made = CelebA(str(authors), complete=False).items()
    assert [(item.name, item.pool) for item in made.items] == [
        ("000001.jpg", "train"),
        ("000002.jpg", "train"),
        ("000003.jpg", "valid"),
        ("000004.jpg", "test"),
    ]
    assert made.official == tuple(item.sample_id for item in made.items)
    raw = made.items[0].raw
    assert raw is not None
    assert raw() == (authors / "Img/img_align_celeba/000001.jpg").read_bytes()


def test_kaggles_copy_is_the_same_data(authors: Path, tmp_path: Path) -> None:
    root = tmp_path / "kaggle"
    faces(root / "img_align_celeba/img_align_celeba")
    rows = "".join(f"{name},{number}\n" for name, number in PARTITION)
    write(root / "list_eval_partition.csv", "image_id,partition\n" + rows)
    made = CelebA(str(root), complete=False).items()
    assert made.official == CelebA(str(authors / "Img" / ".."), complete=False).items().official


def test_the_square_around_the_centre(authors: Path) -> None:
    np.testing.assert_array_equal(
        np.asarray(centre(FACES[0])), np.asarray(FACES[0])[39 : 39 + 140, 19 : 19 + 140]
    )
    assert CelebA(str(authors), complete=False).items().items[0].load(32).size == (140, 140)
    assert centre(Image.new("RGB", (150, 120))).size == (150, 120)


def test_the_hubs_tables(tmp_path: Path) -> None:
    for pool, face in zip(("train", "valid", "test"), FACES, strict=False):
        cells = [{"bytes": encode(face, "JPEG"), "path": None}]
        table(tmp_path / f"img_align+identity/{pool}-00000-of-00019.parquet", image=cells)
    made = CelebA(str(tmp_path), complete=False).items()
    assert [item.pool for item in made.items] == ["test", "train", "valid"]
    assert {item.load(32).size for item in made.items} == {(140, 140)}


@pytest.mark.parametrize("text", ["000001.jpg 3\n", "000001.jpg\n"])
def test_a_damaged_partition_is_refused(text: str, authors: Path) -> None:
    write(authors / "Eval/list_eval_partition.txt", text)
    with pytest.raises(MiaError, match=r"list_eval_partition\.txt cannot be read"):
        CelebA(str(authors), complete=False).items()


def test_what_is_lacking_is_said(authors: Path, tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"has 2 train pictures, and the official files 162,770"):
        CelebA(str(authors)).items()
    write(authors / "Eval/list_eval_partition.txt", "000001.jpg 0\n")
    with pytest.raises(MiaError, match=r"000002\.jpg is not in list_eval_partition"):
        CelebA(str(authors), complete=False).items()
    (authors / "Eval/list_eval_partition.txt").unlink()
    with pytest.raises(Missing, match="looks for the folder img_align_celeba with"):
        CelebA(str(authors), complete=False).items()
    with pytest.raises(Missing, match="looks for the folder img_align_celeba with"):
        CelebA(str(tmp_path / "nowhere")).items()
