"""data=parquet: a folder of parquet files, a folder of images, or neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import pictures, table, write

from mia_bench.data.parquet import Parquet
from mia_bench.utils.errors import Missing


def source(root: Path, **options: object) -> Parquet:
    return Parquet("faces", "CC0", str(root), **options)  # type: ignore[arg-type]


def test_a_folder_of_tables_is_one_source(tmp_path: Path) -> None:
    table(tmp_path / "train-0.parquet", image=pictures(2), text=["a", "b"])
    table(tmp_path / "deep/train-1.parquet", image=pictures(2, first=2), text=["c", "d"])
    made = source(tmp_path).items()
    assert {i.caption for i in made.items} == {"a", "b", "c", "d"}
    assert all(i.sample_id.startswith("faces:") for i in made.items)


def test_a_folder_of_pictures_will_do(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg", encode(picture(0), "JPEG"))
    write(tmp_path / "1.txt", "a face\nthe same face\n")
    assert [i.caption for i in source(tmp_path).items().items] == ["a face"]


def test_without_files_and_hub_the_message_says_where_they_go(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"looks for parquet files.*nowhere.*data=openmoji"):
        source(tmp_path / "nowhere").items()
    assert source(tmp_path / "nowhere").downloads() == ""
