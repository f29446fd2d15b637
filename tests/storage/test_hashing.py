"""Keys of values and of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mia_bench.storage.hashing import hash_file, hash_files, hash_key


def test_hash_key_does_not_see_the_order_of_keys() -> None:
    one = {"a": 1, "b": {"x": [1, 2], "y": None}, "c": "é"}
    other = {"c": "é", "b": {"y": None, "x": [1, 2]}, "a": 1}
    assert hash_key(one) == hash_key(other)
    assert len(hash_key(one)) == 16
    assert set(hash_key(one)) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "other",
    [
        {"a": 1, "b": [2, 1]},
        {"a": 1.5, "b": [1, 2]},
        {"a": "1", "b": [1, 2]},
        {"a": None, "b": [1, 2]},
        {"a": True, "b": [1, 2]},
        {"A": 1, "b": [1, 2]},
        {"a": 1, "b": [1, 2], "c": None},
        {"a": 1},
    ],
)
def test_hash_key_sees_everything_else(other: Any) -> None:
    assert hash_key(other) != hash_key({"a": 1, "b": [1, 2]})


def test_hash_key_is_frozen() -> None:
    """Folders on disk carry these names: `printf '{"a":1,"b":[1,2]}' | b2sum -l 64`."""
    assert hash_key({"b": [1, 2], "a": 1}) == "bba7f0f516ab1a2e"


def test_hash_files_sees_content_and_order_but_not_names(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "y"), ("c", "x")):
        (tmp_path / name).write_text(text)
    a, b, c = (tmp_path / name for name in "abc")
    assert hash_file(a) == hash_file(c) != hash_file(b)
    assert hash_files([a, b]) == hash_files([c, b]) != hash_files([b, a])


def test_weights_are_hashed_again_once_they_change(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    before = hash_files([path])
    assert hash_files([path]) == before
    path.write_bytes(b"other")
    assert hash_files([path]) != before
