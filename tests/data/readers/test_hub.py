"""hub.py against a hub's cache as it lies on the disk; no network is asked for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniature import pictures, table

from mia_bench.data.parquet import Parquet
from mia_bench.data.readers.hub import HubFiles, cached, fetch
from mia_bench.utils.errors import Missing

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of owner/set at COMMIT in an empty cache; the hub itself is offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / f"datasets--owner--set/snapshots/{COMMIT}/data"


def fill(hub: Path, *names: str) -> None:
    for i, name in enumerate(names):
        table(hub / name, image=pictures(2, first=2 * i), text=[f"{name} a", f"{name} b"])


def test_files_of_a_split_in_order() -> None:
    names = ["data/val-1-of-2.parquet", "data/train-0.parquet", "README.md", "val/0000.parquet"]
    names += ["data/val-0-of-2.parquet", "data/interval-0.parquet"]
    wanted = HubFiles("owner/set", "val")
    assert wanted.chosen(names)[:2] == ["data/val-0-of-2.parquet", "data/val-1-of-2.parquet"]
    assert "data/interval-0.parquet" not in wanted.chosen(names)
    assert HubFiles("owner/set", "val", files=1).chosen(names) == ["data/val-0-of-2.parquet"]


def test_what_is_in_the_cache_is_used(hub: Path) -> None:
    fill(hub, "train-00000-of-00002.parquet", "train-00001-of-00002.parquet")
    source = Parquet("set", "CC0", "nowhere", "owner/set", revision=COMMIT)
    assert source.downloads() == ""
    assert len(source.items().items) == 4


def test_half_a_download_is_not(hub: Path) -> None:
    fill(hub, "train-00000-of-00002.parquet")
    assert cached(HubFiles("owner/set", "train", COMMIT)) == []
    assert len(cached(HubFiles("owner/set", "train", COMMIT, files=1))) == 1


@pytest.mark.usefixtures("hub")
def test_without_a_hub_the_message_says_what_and_where(tmp_path: Path) -> None:
    root = str(tmp_path / "faces")
    source = Parquet("faces", "MIT", root, "owner/set", revision=COMMIT, size="2 GB")
    with pytest.raises(Missing) as error:
        source.items()
    for part in ("owner/set, split train (2 GB) cannot be had", root, "hf download owner/set"):
        assert part in str(error.value)
    assert f"--revision {COMMIT}" in str(error.value)
    assert "a run would download owner/set" in source.downloads()


@pytest.mark.usefixtures("hub")
def test_advice_stands_beside_the_reason() -> None:
    with pytest.raises(Missing, match="get it yourself"):
        fetch(HubFiles("owner/set", "train", COMMIT), "get it yourself")


def test_the_newest_commit_is_the_one_that_was_fetched_last(hub: Path) -> None:
    """As fetching one split leaves the cache: a ref, and a list of files that are not all there."""
    fill(hub, "train-00000-of-00001.parquet")
    wanted, place = HubFiles("owner/set", "train"), hub.parents[2]
    assert cached(wanted) == []
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    (place / "trees").mkdir()
    (place / "trees" / f"{COMMIT}.json").write_text('["data/test-00000-of-00001.parquet"]')
    assert cached(wanted) == [hub / "train-00000-of-00001.parquet"]


def test_a_link_to_a_file_that_is_gone_is_no_file(hub: Path) -> None:
    fill(hub, "train-00000-of-00002.parquet")
    (hub / "train-00001-of-00002.parquet").symlink_to(hub / "gone")
    assert cached(HubFiles("owner/set", "train", COMMIT)) == []
