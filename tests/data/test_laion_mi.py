"""laion_mi.py on folders as img2dataset leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import pictures, plain_table, table, write

from mia_bench.data.laion_mi import LaionMi
from mia_bench.utils.errors import Missing


def test_folders_of_img2dataset_are_pools(tmp_path: Path) -> None:
    for folder, first in (("members", 0), ("nonmembers", 10)):
        for i in range(2):
            stem = tmp_path / folder / "00000" / f"{i:09d}"
            write(stem.with_suffix(".jpg"), encode(picture(first + i), "JPEG"))
            write(stem.with_suffix(".txt"), f"{folder} {i}")
            write(stem.with_suffix(".json"), "{}")
        plain_table(tmp_path / folder / "00000.parquet", url=["a", "b"], status=["ok", "ok"])
    made = LaionMi(str(tmp_path)).items()
    assert {(i.caption, i.pool) for i in made.items} == {
        ("members 0", "member"),
        ("members 1", "member"),
        ("nonmembers 0", "nonmember"),
        ("nonmembers 1", "nonmember"),
    }
    assert {s.reason for s in made.skipped} == {"not a picture"}


def test_tables_with_pictures_will_do(tmp_path: Path) -> None:
    table(tmp_path / "members/a.parquet", image=pictures(1), text=["a"])
    table(tmp_path / "nonmembers/a.parquet", image=pictures(1, first=5), text=["b"])
    made = LaionMi(str(tmp_path)).items()
    assert {(i.caption, i.pool) for i in made.items} == {("a", "member"), ("b", "nonmember")}


def test_a_copy_on_both_sides_belongs_to_neither(tmp_path: Path) -> None:
    for folder in ("members", "nonmembers"):
        table(tmp_path / folder / "a.parquet", image=pictures(1), text=["a"])
    made = LaionMi(str(tmp_path)).items()
    assert [(i.pool, made.duplicates) for i in made.items] == [("member+nonmember", 1)]


def test_without_pictures_the_message_says_how_to_fetch_them(tmp_path: Path) -> None:
    (tmp_path / "members").mkdir()
    with pytest.raises(Missing, match=r"nonmembers is not there.*img2dataset --url_list"):
        LaionMi(str(tmp_path)).items()
