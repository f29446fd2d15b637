"""imagefolder.py: a folder a user would really have, and one as bad as they come."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from corpus import CAPTIONS, IMAGES, bad_folder, encode, picture
from miniature import write

from mia_bench.data.imagefolder import ImageFolder
from mia_bench.data.source import Listing, sample_id
from mia_bench.data.split.near_duplicates import perceptual_hashes
from mia_bench.utils.errors import Missing


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> tuple[Listing, dict[str, str | None]]:
    """(every pair of the corpus that was read, what is expected of each)."""
    folder = tmp_path_factory.mktemp("bad")
    expected = bad_folder(folder / "corpus", folder / "beside")
    return perceptual_hashes(ImageFolder(str(folder / "corpus")).items())[0], expected


def test_the_corpus_is_large_enough() -> None:
    assert len(IMAGES) + len(CAPTIONS) >= 60


def test_each_bad_pair_is_read_or_skipped_with_its_name_and_a_reason(bad) -> None:
    listing, expected = bad
    read = {item.name for item in listing.items}
    skipped = {skip.name: skip.reason for skip in listing.skipped}
    assert read == {name for name, reason in expected.items() if reason is None}
    assert skipped.keys() == {name for name, reason in expected.items() if reason is not None}
    wrong = {n: (r, skipped[n]) for n, r in expected.items() if r and not re.search(r, skipped[n])}
    assert not wrong


def test_only_bad_input_is_called_so(bad) -> None:
    assert [skip.name for skip in bad[0].skipped if not skip.broken] == ["notes.md"]


def test_captions_of_the_corpus(bad) -> None:
    said = {item.name: item.caption for item in bad[0].items}
    assert said["caption nul.png"] == "a fish with a nul"
    assert said["caption list.png"] == "the second says something"
    assert said["caption number.png"] == "7"
    assert not any("\0" in caption or "\ud800" in caption for caption in said.values())


def test_reasons_can_be_printed(bad) -> None:
    assert all(skip.reason.isprintable() and len(skip.reason) < 300 for skip in bad[0].skipped)


def test_a_folder_with_csv_sidecars_and_nested_metadata(tmp_path: Path) -> None:
    for i, name in enumerate(["a b.png", "ü/c.png", "ü/d.png", "ü/e.JPG", "f.png"]):
        write(tmp_path / name, encode(picture(i)))
    write(tmp_path / "metadata.csv", 'file_name,text\na b.png,"a boat, red"\nf.png,\n')
    write(tmp_path / "ü/metadata.jsonl", '{"file_name": "c.png", "caption": "a cat"}\n')
    write(tmp_path / "ü/d.txt", "a dog\na second caption\n")
    write(tmp_path / "ü/e.txt", b"\xff\xfe")
    made = ImageFolder(str(tmp_path)).items()
    assert {i.name: i.caption for i in made.items} == {
        "a b.png": "a boat, red",
        "ü/c.png": "a cat",
        "ü/d.png": "a dog",
    }
    assert {s.name: s.reason for s in made.skipped} == {
        "f.png": "the caption is empty",
        "ü/e.JPG": "the caption is not UTF-8",
    }
    (first,) = [item for item in made.items if item.name == "a b.png"]
    assert first.sample_id == sample_id("imagefolder", (tmp_path / "a b.png").read_bytes())
    longest = ImageFolder(str(tmp_path), caption_choice="longest").items()
    assert "a second caption" in {item.caption for item in longest.items}


def test_several_lines_of_one_picture_are_several_captions(tmp_path: Path) -> None:
    write(tmp_path / "a.png", encode(picture(0)))
    write(
        tmp_path / "metadata.jsonl",
        '{"file_name": "a.png", "about": "one"}\n{"file_name": "a.png", "about": "one and two"}\n',
    )
    by_rule = {
        rule: ImageFolder(str(tmp_path), "about", rule).items().items[0].caption
        for rule in ("first", "longest")
    }
    assert by_rule == {"first": "one", "longest": "one and two"}


def test_copies_are_merged_and_counted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.png", encode(picture(0)))
        write(tmp_path / f"{name}.txt", f"picture {name}")
    made = ImageFolder(str(tmp_path)).items()
    assert ([i.caption for i in made.items], made.duplicates) == (["picture a"], 1)


def test_a_missing_folder_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"nowhere is not a folder.*metadata\.jsonl"):
        ImageFolder(str(tmp_path / "nowhere")).items()
