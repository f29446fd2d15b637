"""Tar shards: one sample a key, pictures read from their place, names that are never paths."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from corpus import encode, picture

from mia_bench.data.readers import tar_shards
from mia_bench.data.readers.tar_shards import samples


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_files_of_one_key_are_one_sample(tmp_path: Path) -> None:
    image = encode(picture(1))
    files = {
        "00.png": image,
        "00.txt": b"a cat",
        "00.json": b'{"url": "u"}',
        "00.cls": b"3",
        "../01.png": image,
        "../01.caption": b"\xef\xbb\xbfa dog",
    }
    first, second = samples(shard(tmp_path / "0.tar", files))
    assert (first.name, first.caption, first.facts) == ("00", "a cat", {"url": "u"})
    assert (second.name, second.caption) == ("../01", "a dog")
    assert first.raw() == second.raw() == image
    assert first.load().tobytes() == picture(1).convert(first.load().mode).tobytes()


def test_a_sample_with_a_damaged_part_says_which(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tar_shards, "MAX_TEXT_BYTES", 10)
    monkeypatch.setattr(tar_shards, "MAX_PICTURE_BYTES", 20)
    files = {"0.json": b"{", "1.txt": b"\xff\xfe\xff", "2.txt": b"much too long a caption"}
    files |= {"3.png": bytes(21)}
    problems = [sample.problem for sample in samples(shard(tmp_path / "0.tar", files))]
    assert problems[0].startswith("its .json cannot be read")
    assert problems[1].startswith("its .txt cannot be read")
    assert problems[2] == "23 bytes in one .txt file, at most 10"
    assert problems[3] == "21 bytes in one .png file, at most 20"


def test_what_came_before_a_break_is_kept(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar", {"0.txt": b"a", "1.txt": bytes(5000)})
    path.write_bytes(path.read_bytes()[:1600])
    read = []
    with pytest.raises(ValueError, match="the archive is broken"):
        read.extend(sample.name for sample in samples(path))
    path_iterator = samples(path)
    assert next(path_iterator).name == "0"


def test_a_second_picture_of_one_name_is_a_problem_and_not_taken_instead(tmp_path: Path) -> None:
    files = {"0.png": encode(picture(0)), "0.jpg": encode(picture(1), "JPEG"), "0.txt": b"a"}
    (sample,) = samples(shard(tmp_path / "0.tar", files))
    assert sample.problem == "several pictures of one name (.jpg is the second)"


def test_txt_comes_before_caption_in_any_order_and_heic_is_a_picture(tmp_path: Path) -> None:
    image = encode(picture(0))
    files = {"0.heic": image, "0.txt": b"first", "0.caption": b"second"}
    for order in (files, dict(reversed(files.items()))):
        (sample,) = samples(shard(tmp_path / "0.tar", order))
        assert (sample.caption, sample.data) == ("first", image)
