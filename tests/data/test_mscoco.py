"""mscoco.py on miniature copies of the official layout, and of the mirrors."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import caption, coco, pictures, table

from mia_bench.data.mscoco import Mscoco, coco_id, read_coco
from mia_bench.utils.errors import MiaError, Missing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    coco(tmp_path, "val2017", 4)
    coco(tmp_path, "train2017", 9, first=100)
    return tmp_path


def test_the_official_layout(root: Path) -> None:
    made = Mscoco(str(root), train_rows=5).items()
    val = {i.name: i.caption for i in made.items if i.pool == "val2017"}
    assert val == {f"val2017/{i:012d}.jpg": caption(i) for i in range(4)}
    assert len([i for i in made.items if i.pool == "train2017"]) == 5
    assert Mscoco(str(root)).downloads() == ""


def test_captions_come_in_the_order_of_their_ids(root: Path) -> None:
    assert read_coco(root / "annotations/captions_val2017.json")["000000000002.jpg"] == [
        caption(2),
        caption(2, 1),
    ]
    longest = Mscoco(str(root), 0, "longest").items()
    assert [i.caption for i in longest.items] == [caption(i, 1) for i in range(4)]


def test_the_part_of_train2017_does_not_depend_on_what_else_is_taken(root: Path) -> None:
    few, more = (
        {i.name for i in Mscoco(str(root), n).items().items if i.pool == "train2017"}
        for n in (3, 6)
    )
    assert few < more


def test_a_missing_picture_is_skipped(root: Path) -> None:
    (root / "val2017/000000000001.jpg").unlink()
    (skip,) = Mscoco(str(root), 0).items().skipped
    assert (skip.name, skip.reason) == ("val2017/000000000001.jpg", "the file is missing")


def test_parquet_mirrors_with_images_of_val_among_train(tmp_path: Path) -> None:
    """The mirror of train is COCO 2014's: pictures of val2017 are left out by their number."""
    table(
        tmp_path / "val2017/val-0.parquet",
        image=pictures(2),
        answer=[[caption(i), caption(i, 1)] for i in range(2)],
        question_id=[f"{i:012d}.jpg" for i in range(2)],
    )
    again = {"bytes": encode(picture(77)), "path": "1.jpg"}
    table(
        tmp_path / "train2017/train-0.parquet",
        image=[again, *pictures(3, first=50)],
        sentences_raw=[["again"], ["c"], ["d"], ["e"]],
        filename=[f"COCO_val2014_{i:012d}.jpg" for i in (1, 50, 51, 52)],
    )
    made = Mscoco(str(tmp_path), train_rows=2).items()
    assert sorted(i.caption for i in made.items if i.pool == "val2017") == [caption(0), caption(1)]
    train = [i.caption for i in made.items if i.pool == "train2017"]
    assert len(train) == 2
    assert set(train) < {"c", "d", "e"}


def test_numbers_of_2014_and_2017_are_the_same() -> None:
    assert coco_id("COCO_train2014_000000000042.jpg") == coco_id("val2017/000000000042.jpg") == 42
    assert coco_id("holiday.jpg") == "holiday.jpg"


def test_annotations_that_are_none(root: Path) -> None:
    path = root / "annotations/captions_val2017.json"
    for text in ('{"images": []}', "[", '{"images": [{"id": 1}], "annotations": []}'):
        path.write_text(text)
        with pytest.raises(MiaError, match="is no COCO caption file"):
            Mscoco(str(root)).items()


def test_pictures_that_were_not_unpacked(root: Path) -> None:
    for path in (root / "val2017").iterdir():
        path.unlink()
    (root / "val2017").rmdir()
    with pytest.raises(Missing, match="the folder val2017 that belongs to it is not"):
        Mscoco(str(root)).items()


def test_without_data_the_plan_says_what_would_be_downloaded(tmp_path: Path) -> None:
    said = Mscoco(str(tmp_path)).downloads()
    for part in ("lmms-lab/COCO-Caption2017", "0.8 GB", "CC BY 4.0", str(tmp_path), "curl"):
        assert part in said
