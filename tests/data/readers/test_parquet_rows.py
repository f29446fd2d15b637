"""tables.py and parquet.py: pairs out of parquet files."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import caption, pictures, plain_table, table, write

from mia_bench.data.readers.collector import Pairs
from mia_bench.data.readers.parquet_rows import Columns, add_tables
from mia_bench.data.source import Listing, sample_id
from mia_bench.utils.errors import MiaError


def read(path: Path, columns: Columns | None = None, rule: str = "first") -> Listing:
    pairs = Pairs("x", path.parent, rule)  # type: ignore[arg-type]
    add_tables(pairs, [path], columns or Columns())
    return pairs.listing()


def test_pictures_as_the_hub_writes_them(tmp_path: Path) -> None:
    made = read(
        table(
            tmp_path / "a.parquet",
            image=pictures(3),
            caption=[[caption(i), caption(i, 1)] for i in range(3)],
            filename=[f"{i} ü.jpg" for i in range(3)],
        ),
        rule="longest",
    )
    assert [(i.name, i.caption) for i in made.items] == [
        (f"{i} ü.jpg", caption(i, 1)) for i in range(3)
    ]
    assert made.items[1].sample_id == sample_id("x", encode(picture(1)))
    assert made.items[1].load(64).tobytes() == picture(1).tobytes()
    assert made.items[1].raw is not None
    assert made.items[1].raw() == encode(picture(1))


def test_raw_bytes_and_several_caption_columns(tmp_path: Path) -> None:
    path = plain_table(
        tmp_path / "a.parquet",
        picture=[encode(picture(i)) for i in range(2)],
        caption_0=[None, "b zero"],
        caption_1=["a one", "b one"],
    )
    made = read(path, Columns("picture", ("caption_0", "caption_1")))
    assert [(i.name, i.caption) for i in made.items] == [
        ("a/0000000", "a one"),
        ("a/0000001", "b zero"),
    ]


def test_rows_that_repeat_a_picture_are_its_captions(tmp_path: Path) -> None:
    """As in COCO mirrors with one row per caption."""
    path = table(
        tmp_path / "a.parquet",
        image=pictures(2) + pictures(2),
        text=["a", "b", "a longer one", "b longer one"],
    )
    assert [i.caption for i in read(path).items] == ["a", "b"]
    assert [i.caption for i in read(path, rule="longest").items] == ["a longer one", "b longer one"]


def test_rows_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    path = plain_table(
        tmp_path / "a.parquet",
        image=[encode(picture(0)), None, encode(picture(2)), b"junk"],
        text=["fine", "no picture", None, "no picture either"],
    )
    made = read(path)
    assert {s.name: s.reason for s in made.skipped} == {
        "a/0000001": "the picture is not in the table",
        "a/0000002": "no caption",
    }
    with pytest.raises(ValueError, match="no known picture format"):
        made.items[1].load(64)


def test_items_go_to_workers(tmp_path: Path) -> None:
    item = read(table(tmp_path / "a.parquet", image=pictures(2), text=["a", "b"])).items[1]
    assert pickle.loads(pickle.dumps(item)).load(8).tobytes() == item.load(8).tobytes()


def test_a_table_without_the_columns_lists_those_it_has(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", photo=pictures(1), text=["a"])
    with pytest.raises(MiaError, match=r"has the columns photo, text.*data\.source\.image"):
        read(path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"junk\.parquet in .* cannot be read as parquet"):
        read(write(tmp_path / "junk.parquet", b"junk" * 100))
