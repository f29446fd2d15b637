"""Pairs collected from files: what cannot be used is skipped with its name and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import write
from PIL import Image

from mia_bench.data.readers.collector import Pairs
from mia_bench.data.source import Skip, sample_id


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    write(tmp_path / "root/a.png", encode(picture(0)))
    return Pairs("x", tmp_path / "root", "longest")


def test_a_pair_has_the_id_of_its_bytes_and_one_caption(pairs: Pairs) -> None:
    pairs.add(pairs.root / "a.png", ["short", "the longest of them"], "train")
    (item,) = pairs.listing().items
    assert item.sample_id == sample_id("x", encode(picture(0)))
    assert (item.name, item.caption, item.pool) == ("a.png", "the longest of them", "train")


def test_a_picture_file_can_be_read_again_and_a_drawing_cannot(pairs: Pairs) -> None:
    (pairs.root / "a.png").write_bytes(b"the bytes")
    pairs.add(pairs.root / "a.png", "one")
    pairs.add(pairs.root / "a.png", "drawn", load=lambda path, _: Image.open(path))
    file, drawing = pairs.items
    assert file.raw is not None
    assert file.raw() == b"the bytes"
    assert drawing.raw is None


def test_what_cannot_be_used_is_skipped_with_a_reason(pairs: Pairs, tmp_path: Path) -> None:
    write(tmp_path / "outside.png", encode(picture(1)))
    (pairs.root / "link.png").symlink_to(tmp_path / "outside.png")
    (pairs.root / "folder.png").mkdir()
    for name, caption in (
        ("a.png", ""),
        ("link.png", "a caption"),
        ("folder.png", "a caption"),
        ("gone.png", "a caption"),
    ):
        pairs.add(pairs.root / name, caption)
    pairs.skip("notes.md", "is not an image")
    assert pairs.listing().items == ()
    assert pairs.skipped == [
        Skip("a.png", "the caption is empty", True),
        Skip("link.png", "leads out of the folder", True),
        Skip("folder.png", "is not a file", True),
        Skip("gone.png", "the file is missing", True),
        Skip("notes.md", "is not an image", False),
    ]
