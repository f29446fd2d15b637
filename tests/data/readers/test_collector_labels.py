"""Who is a member is decided over all tables of a source: one may hold members alone."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import datasets
import pytest
from corpus import encode, picture
from miniature import pictures, plain_table, table, write

from mia_bench.data.imagefolder import ImageFolder
from mia_bench.data.parquet import Parquet
from mia_bench.data.source import Listing

datasets.disable_progress_bars()


def labels(listing: Listing) -> list[str]:
    return [item.label for item in sorted(listing.items, key=lambda item: item.caption)]


def shards(root: Path, members: list[list[int]]) -> None:
    index = 0
    for shard, values in enumerate(members):
        with tarfile.open(root / f"{shard}.tar", "w") as archive:
            for value in values:
                facts = json.dumps({"is_member": value}).encode()
                for ending, data in (
                    ("jpg", encode(picture(index), "JPEG")),
                    ("txt", b"caption %d" % index),
                    ("json", facts),
                ):
                    entry = tarfile.TarInfo(f"{index:05d}.{ending}")
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
                index += 1


def saved(root: Path, members: dict[str, list[int]]) -> None:
    first, splits = 0, {}
    for name, values in members.items():
        columns = {
            "image": pictures(len(values), first),
            "text": [f"caption {first + i}" for i in range(len(values))],
            "is_member": values,
        }
        kinds = {
            "image": datasets.Image(),
            "text": datasets.Value("string"),
            "is_member": datasets.Value("int64"),
        }
        splits[name] = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
        first += len(values)
    datasets.DatasetDict(splits).save_to_disk(str(root))


@pytest.mark.parametrize("parts", [[[1, 1], [0, 0]], [[1, 0], [1, 1]]])
def test_archives_and_splits_of_one_kind_each(parts: list[list[int]], tmp_path: Path) -> None:
    expected = ["member" if value else "nonmember" for part in parts for value in part]
    (tmp_path / "tars").mkdir()
    shards(tmp_path / "tars", parts)
    made = ImageFolder(str(tmp_path / "tars")).items()
    assert (made.label_column, labels(made)) == ("is_member", expected)
    saved(tmp_path / "saved", dict(zip("ab", parts, strict=True)))
    made = ImageFolder(str(tmp_path / "saved")).items()
    assert (made.label_column, labels(made)) == ("is_member", expected)


def test_numbers_that_pandas_wrote_beside_empty_fields(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.png", encode(picture(i)))
    text = "file_name,text,is_member\n0.png,a,1.0\n1.png,b,0.0\n2.png,c,\n"
    write(tmp_path / "metadata.csv", text)
    assert labels(ImageFolder(str(tmp_path)).items()) == ["member", "nonmember", ""]


def test_a_picture_without_a_caption_keeps_its_label(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"{i}.png", encode(picture(i)))
    write(tmp_path / "metadata.csv", "file_name,is_member\n0.png,1\n1.png,0\n")
    made = ImageFolder(str(tmp_path)).items()
    assert [make().label for make in made.captionless] == ["member", "nonmember"]


def test_whole_paths_and_backslashes_name_pictures_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "a/0.png", encode(picture(0)))
    write(tmp_path / "a/1.png", encode(picture(1)))
    rows = [
        {"file_name": str(tmp_path / "a/0.png"), "text": "zero"},
        {"file_name": "a\\1.png", "text": "one"},
        {"file_name": "/etc/passwd", "text": "none"},
        {"file_name": "a\\..\\..\\x.png", "text": "none"},
    ]
    write(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    made = ImageFolder(str(tmp_path)).items()
    assert {item.name: item.caption for item in made.items} == {"a/0.png": "zero", "a/1.png": "one"}
    assert [skip.reason for skip in made.skipped] == ["file_name leads out of the folder"] * 2


def test_a_class_as_a_caption_is_its_name(tmp_path: Path) -> None:
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    columns = {"image": pictures(3), "label": [1, 0, -1]}
    made = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    made.to_parquet(str(tmp_path / "a.parquet"))
    read = Parquet("x", "l", str(tmp_path), caption="label").items()
    assert [item.caption for item in read.items] == ["dog", "cat"]
    assert [skip.reason for skip in read.skipped] == ["no caption"]


def test_whether_the_order_of_names_is_that_of_the_rows(tmp_path: Path) -> None:
    def ordered(name: str, **columns) -> bool:
        table(tmp_path / name / "a.parquet", image=pictures(2), text=["a", "b"], **columns)
        return Parquet("x", "l", str(tmp_path / name)).items().rows_in_order

    assert ordered("plain")
    assert ordered("sorted", file_name=["1.png", "2.png"])
    assert not ordered("natural", file_name=["9.png", "10.png"])
    twice = [encode(picture(0))] * 2
    plain_table(tmp_path / "repeated/a.parquet", image=twice, text=["a", "b"])
    assert not Parquet("x", "l", str(tmp_path / "repeated")).items().rows_in_order
