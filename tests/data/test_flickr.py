"""flickr.py on miniature copies of the three annotation files, and of the mirror."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import caption, pictures, table, write

from mia_bench.data.flickr import Flickr
from mia_bench.utils.errors import MiaError

NAMES = [f"{1000 + i}.jpg" for i in range(3)]
SAID = {f"flickr30k-images/{name}": caption(i) for i, name in enumerate(NAMES)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i, name in enumerate(NAMES):
        write(tmp_path / "flickr30k-images" / name, encode(picture(i), "JPEG"))
    return tmp_path


def test_the_token_file(root: Path) -> None:
    lines = [f"{n}#{k}\t{caption(i, k)}" for i, n in enumerate(NAMES) for k in (0, 1)]
    write(root / "results_20130124.token", "\n".join([*lines, "no tab here", ""]))
    made = Flickr(str(root)).items()
    assert {i.name: i.caption for i in made.items} == SAID
    assert [(s.name, s.broken) for s in made.skipped] == [("results_20130124.token:7", True)]


def test_the_csv_file_with_its_known_broken_line(root: Path) -> None:
    lines = [f"{n}| {k}| {caption(i, k)}" for i, n in enumerate(NAMES) for k in (0, 1)]
    broken = f"{NAMES[2]}| 4   A dog runs across the grass ."
    write(root / "results.csv", "\n".join(["image_name| comment_number| comment", *lines, broken]))
    made = Flickr(str(root)).items()
    assert {i.name: i.caption for i in made.items} == SAID
    assert [s.name for s in made.skipped] == ["results.csv:8"]


def test_karpathys_file_and_a_picture_that_is_missing(root: Path) -> None:
    images = [
        {"filename": n, "sentences": [{"raw": caption(i, k)} for k in (0, 1)]}
        for i, n in enumerate([*NAMES, "gone.jpg"])
    ]
    write(root / "dataset_flickr30k.json", json.dumps({"images": images}))
    made = Flickr(str(root), "longest").items()
    assert [i.caption for i in made.items] == [caption(i, 1) for i in range(3)]
    assert [(s.name, s.reason) for s in made.skipped] == [("gone.jpg", "the file is missing")]
    write(root / "dataset_flickr30k.json", '{"images": [{}]}')
    with pytest.raises(MiaError, match="is not Karpathy's file"):
        Flickr(str(root)).items()


def test_a_file_name_cannot_lead_out_of_the_folder(root: Path) -> None:
    write(root.parent / "secret.jpg", encode(picture(9), "JPEG"))
    write(root / "results_20130124.token", "../secret.jpg#0\ta secret\n")
    made = Flickr(str(root)).items()
    assert not made.items
    assert [s.reason for s in made.skipped] == ["the file is missing"]


def test_the_mirror(tmp_path: Path) -> None:
    table(
        tmp_path / "data/test-0.parquet",
        image=pictures(2),
        caption=[[caption(i), caption(i, 1)] for i in range(2)],
        filename=NAMES[:2],
    )
    source = Flickr(str(tmp_path))
    assert source.downloads() == ""
    assert {i.name: i.caption for i in source.items().items} == {
        n: caption(i) for i, n in enumerate(NAMES[:2])
    }


def test_without_data_the_plan_says_what_would_be_downloaded(tmp_path: Path) -> None:
    said = Flickr(str(tmp_path)).downloads()
    for part in ("lmms-lab/flickr30k", "4.4 GB", "research", "results_20130124.token"):
        assert part in said
