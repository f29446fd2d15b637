"""What is unfinished, whether anyone is at work on it, and the space that outputs/ take."""

from __future__ import annotations

import pytest
from filelock import FileLock

from mia_bench.storage.inventory import bytes_under, unfinished_folders


@pytest.fixture
def outputs(store_cell, tmp_path):
    store_cell(tmp_path)
    store_cell(tmp_path, attack="loss")
    return tmp_path


def test_half_built_folders_and_whether_anyone_is_at_work(outputs):
    targets, features = outputs / "targets", outputs / "features" / "m" / "300"
    (targets / "t.tmp").mkdir(parents=True)
    (targets / "t.tmp" / "train.csv").write_text("step,epoch\n100.0,2\n200.0,4\n")
    (features / "clid-1.tmp" / "shards").mkdir(parents=True)
    (features / "clid-1.tmp" / "shards" / "000-a.parquet").touch()
    with FileLock(targets / "t.lock"):
        found = {half.folder.name: half for half in unfinished_folders(outputs)}
        assert (found["t.tmp"].progress, found["t.tmp"].alive) == (", step 200", True)
        assert found["clid-1.tmp"].progress == ", 1 shards"
    assert [half.alive for half in unfinished_folders(outputs)] == [False, False]


def test_disk_use_does_not_follow_links(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert 5 <= bytes_under(tmp_path / "a") < 5 + 300
    assert bytes_under(tmp_path / "none") == 0
