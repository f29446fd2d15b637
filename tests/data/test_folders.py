"""Two folders with captions that may be missing, or one for all."""

from __future__ import annotations

import pytest
from album import make_album

from mia_bench.data.folders import Folders
from mia_bench.utils.errors import Missing


@pytest.fixture
def folders(tmp_path):
    for name, first in (("a", 0), ("b", 50)):
        make_album(tmp_path / name, 3, first=first)
    (tmp_path / "b" / "metadata.jsonl").unlink()
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_a_picture_needs_no_caption(folders):
    items = Folders(*folders).items().items
    assert [item.pool for item in items] == ["member"] * 3 + ["nonmember"] * 3
    assert all(item.caption for item in items[:3])
    assert {item.caption for item in items[3:]} == {""}


def test_one_caption_for_all_or_none(folders):
    one = Folders(*folders, captions="one", caption="a photo of sks dog").items()
    assert {item.caption for item in one.items} == {"a photo of sks dog"}
    none = Folders(*folders, captions="none").items()
    assert {item.caption for item in none.items} == {""}


def test_a_folder_that_is_not_there(folders, tmp_path):
    with pytest.raises(Missing, match="not a folder"):
        Folders(folders[0], str(tmp_path / "nowhere")).items()
