"""A run's split is its own manifest, or another of the same content; never one outside."""

from __future__ import annotations

import json

import pytest
from album import make_album

from mia_bench.config.schema import Data
from mia_bench.data.imagefolder import ImageFolder
from mia_bench.data.split.manifest import Split, make_table, save_split
from mia_bench.data.split.roles import Role, RoleSizes
from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError
from mia_bench.verification import stored_split
from mia_bench.verification.stored_split import find_split, own_split_file


@pytest.fixture
def split(tmp_path) -> Split:
    make_album(tmp_path / "pictures", 4)
    listing = ImageFolder(str(tmp_path / "pictures")).items()
    roles = [Role.TARGET_MEMBER, Role.TARGET_NONMEMBER] * 2
    sizes = RoleSizes(2, 2, 0, 0, 0)
    groups = list("abcd")
    return make_table(listing, groups, roles, sizes, source="x", seed=0, max_distance=6)


def test_its_own_file_comes_first_and_another_of_the_same_content_will_do(split, tmp_path):
    wanted, folder = split.content_hash, tmp_path / layout.SPLITS_FOLDER
    with pytest.raises(MiaError, match=f"no split of the hash {wanted}"):
        find_split(tmp_path, wanted, None)
    own = folder / "own.json"
    save_split(split, folder / "other.json")
    assert find_split(tmp_path, wanted, own).table == split.table
    save_split(split, own)
    (folder / "other.json").write_text("{}")
    assert find_split(tmp_path, wanted, own).table == split.table


def test_a_file_of_another_content_is_not_taken_for_it(split, tmp_path):
    path = tmp_path / layout.SPLITS_FOLDER / "own.json"
    save_split(split, path)
    with pytest.raises(MiaError, match=r"own\.json has the hash .* was made with 0000"):
        find_split(tmp_path, "0000", path)
    edited = json.loads(path.read_text())
    edited["seed"] = 1
    edited["rows"][0]["role"] = "target_nonmember"
    path.write_text(json.dumps(edited))
    with pytest.raises(MiaError):
        find_split(tmp_path, split.content_hash, None)


def test_an_imported_table_that_is_not_here_names_no_file(tmp_path):
    data = Data(name="x", split=str(tmp_path / "gone.csv"))
    assert own_split_file(tmp_path, data, {"root": "r"}, False) is None


def test_other_splits_are_not_read_where_its_own_is_there(split, tmp_path, monkeypatch):
    """They may be many, of a million rows each."""
    folder, read = tmp_path / layout.SPLITS_FOLDER, []
    own = folder / "own.json"
    for path in (own, folder / "other.json"):
        save_split(split, path)
    monkeypatch.setattr(stored_split, "read_json", lambda path: read.append(path) or {})
    find_split(tmp_path, split.content_hash, own)
    assert read == []
