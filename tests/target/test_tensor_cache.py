"""cache.py: latents are found again by view and sample, whatever happened to a shard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mia_bench.target.tensor_cache import TensorCache

IDS = ("openmoji:a", "openmoji:b", "openmoji:c")


def latents(seed: int = 0, n: int = 3) -> Tensor:
    return torch.randn(n, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def rows(cache: TensorCache, view: str, sample_id: Sequence[str]) -> Tensor | None:
    """All of them, or None where one is missing."""
    found = cache.get(view, sample_id)
    there = bool(sample_id) and set(sample_id) <= found.keys()
    return torch.stack([found[sid] for sid in sample_id]) if there else None


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def test_nothing_is_found_before_it_is_put(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "not" / "there")
    assert rows(cache, "clean", IDS) is None
    assert not (tmp_path / "not").exists()
    cache.put("clean", IDS, latents())
    assert rows(cache, "clean", IDS[:0]) is None


def test_rows_come_back_in_any_order_bit_by_bit(tmp_path: Path) -> None:
    first = TensorCache(tmp_path)
    first.put("clean", IDS, latents())
    for cache in (first, TensorCache(tmp_path)):
        found = rows(cache, "clean", (IDS[2], IDS[0], IDS[2]))
        assert found is not None
        assert torch.equal(found, latents()[[2, 0, 2]])
    assert [p.suffix for p in tmp_path.iterdir()] == [".safetensors"]


def test_what_was_put_is_a_copy(tmp_path: Path) -> None:
    z0, cache = latents(), TensorCache(tmp_path)
    cache.put("clean", IDS, z0.requires_grad_())
    with torch.no_grad():
        z0.zero_()
    found = rows(cache, "clean", IDS)
    assert found is not None
    assert torch.equal(found, latents())
    assert not found.requires_grad


def test_views_are_kept_apart(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    cache.put("clean", IDS, latents(0))
    assert rows(cache, "flip", IDS) is None
    cache.put("flip", IDS, latents(1))
    for view, seed in (("clean", 0), ("flip", 1)):
        found = rows(cache, view, IDS)
        assert found is not None
        assert torch.equal(found, latents(seed))


def test_of_rows_that_are_missing_the_others_are_found(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    cache.put("clean", IDS, latents())
    assert cache.get("clean", (*IDS, "openmoji:d")).keys() == set(IDS)
    assert cache.has("clean", (*IDS, "openmoji:d")) == set(IDS)
    assert cache.has("flip", IDS) == set()
    cache.put("clean", ("openmoji:d",), latents(5, 1))
    found = rows(cache, "clean", ("openmoji:d", IDS[1]))
    assert found is not None
    assert torch.equal(found, torch.cat([latents(5, 1), latents()[[1]]]))


def test_what_another_process_puts_is_found(tmp_path: Path) -> None:
    """Two caches of one folder share no memory, like two processes."""
    one, two = TensorCache(tmp_path), TensorCache(tmp_path)
    assert rows(two, "clean", IDS) is None
    one.put("clean", IDS, latents())
    found = rows(two, "clean", IDS)
    assert found is not None
    assert torch.equal(found, latents())


def test_the_same_rows_may_be_put_twice(tmp_path: Path) -> None:
    for _ in range(2):
        TensorCache(tmp_path).put("clean", IDS, latents())
    assert len(shards(tmp_path)) == 1
    found = rows(TensorCache(tmp_path), "clean", IDS)
    assert found is not None
    assert torch.equal(found, latents())


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_truncated_shard_is_dropped_and_built_again(keep: int, tmp_path: Path) -> None:
    TensorCache(tmp_path).put("clean", IDS, latents())
    TensorCache(tmp_path).put("clean", ("openmoji:d",), latents(5, 1))
    (broken,) = [p for p in shards(tmp_path) if b"openmoji:a" in p.read_bytes()]
    broken.write_bytes(broken.read_bytes()[:keep])

    cache = TensorCache(tmp_path)
    assert rows(cache, "clean", IDS) is None
    assert not broken.exists()
    kept = rows(cache, "clean", ("openmoji:d",))
    assert kept is not None
    assert torch.equal(kept, latents(5, 1))
    cache.put("clean", IDS, latents())
    found = rows(TensorCache(tmp_path), "clean", IDS)
    assert found is not None
    assert torch.equal(found, latents())


def test_a_file_that_is_no_shard_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "junk.safetensors").write_bytes(b"\xff" * 64)
    (tmp_path / "half.part").write_bytes(b"half")
    assert rows(TensorCache(tmp_path), "clean", IDS) is None
    assert [p.name for p in tmp_path.iterdir()] == ["half.part"]


def test_a_shard_that_another_process_drops_meanwhile_is_no_error(tmp_path: Path) -> None:
    """Listed, and gone when it is opened: a dangling link looks like that at any time."""
    TensorCache(tmp_path).put("clean", IDS, latents())
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    found = rows(TensorCache(tmp_path), "clean", IDS)
    assert found is not None
    assert torch.equal(found, latents())


@pytest.mark.parametrize("change", ["deleted", "truncated"])
def test_a_shard_lost_while_in_use_is_a_miss(change: str, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    cache.put("clean", IDS, latents())
    (path,) = shards(tmp_path)
    if change == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:40])
    assert rows(cache, "clean", IDS) is None
    cache.put("clean", IDS, latents(1))
    found = rows(cache, "clean", IDS)
    assert found is not None
    assert torch.equal(found, latents(1))


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below a regular file nothing can be made."""
    (tmp_path / "file").touch()
    cache = TensorCache(tmp_path / "file" / "latents")
    for seed in range(2):
        cache.put("clean", IDS, latents(seed))
    assert rows(cache, "clean", IDS) is None
    assert capsys.readouterr().err.count("latents are not kept: cannot write") == 1


def test_flipped_bytes_are_found_before_they_are_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TensorCache(tmp_path).put("clean", IDS, latents())
    (shard,) = shards(tmp_path)
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(data)
    assert rows(TensorCache(tmp_path), "clean", IDS) is None
    assert "is not what was written" in capsys.readouterr().err
    assert not shards(tmp_path)


def test_rows_that_are_there_are_found_beside_others_that_are_not(tmp_path: Path) -> None:
    TensorCache(tmp_path).put("clean", IDS[:2], latents()[:2])
    found = TensorCache(tmp_path).get("clean", IDS)
    first, second, third = (found.get(sid) for sid in IDS)
    assert first is not None
    assert second is not None
    assert torch.equal(torch.stack([first, second]), latents()[:2])
    assert third is None


def test_of_two_versions_later_processes_read_the_same(tmp_path: Path) -> None:
    for seed in range(4):
        TensorCache(tmp_path).put("clean", IDS, latents(seed))
    found = [rows(TensorCache(tmp_path), "clean", IDS) for _ in range(3)]
    assert found[0] is not None
    assert all(other is not None and torch.equal(found[0], other) for other in found)


def test_a_bounded_cache_drops_what_was_not_read_for_longest(tmp_path: Path) -> None:
    """Room for three shards, of two encoders: the one in use stays, the oldest other goes."""
    shard = 3 * 4 * 8 * 8 * 4
    one = TensorCache(tmp_path / "one", limit=int(3.6 * shard))
    other = TensorCache(tmp_path / "other", limit=int(3.6 * shard))
    for age, (cache, view) in enumerate([(one, "a"), (one, "b"), (other, "c")]):
        cache.put(view, IDS, latents(age))
        for path in {*cache.folder.glob("*")} - {*_dated(tmp_path)}:
            os.utime(path, (age + 1, age + 1))
    assert rows(TensorCache(tmp_path / "one"), "a", IDS) is not None  # the oldest, read just now
    other.put("d", IDS, latents(3))
    assert rows(TensorCache(tmp_path / "one"), "b", IDS) is None
    for folder, view in (("one", "a"), ("other", "c"), ("other", "d")):
        assert rows(TensorCache(tmp_path / folder), view, IDS) is not None
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) < 3.6 * shard


def test_what_is_larger_than_the_limit_is_kept_until_the_next(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "one", limit=10)
    for seed in range(3):
        cache.put("clean", IDS, latents(seed))
        assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    found = rows(cache, "clean", IDS)
    assert found is not None
    assert torch.equal(found, latents(2))


def test_parts_that_a_kill_left_a_day_ago_go_too(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "one", limit=10)
    cache.folder.mkdir()
    for name, age in (("old.part", 1.0), ("new.part", None)):
        (cache.folder / name).write_bytes(b"half")
        if age:
            os.utime(cache.folder / name, (age, age))
    cache.put("clean", IDS, latents())
    assert {path.name for path in cache.folder.glob("*.part")} == {"new.part"}


def _dated(folder: Path) -> list[Path]:
    """Shards whose time a test already set."""
    return [path for path in folder.rglob("*.safetensors") if path.stat().st_mtime < 1_000]
