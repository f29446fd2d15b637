"""cache.py: latents are found again by view and sample, whatever happened to a shard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mia_bench.data.cache import TensorCache
from mia_bench.target import Batch

IDS = ("openmoji:a", "openmoji:b", "openmoji:c")


def latents(seed: int = 0, n: int = 3) -> Tensor:
    return torch.randn(n, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def rows(cache: TensorCache, view: str, ids: Sequence[str]) -> Tensor:
    found = cache.get(view, ids)
    return torch.stack([found[sid] for sid in ids])


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def test_nothing_is_found_before_it_is_put(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "not" / "there")
    assert cache.get("clean", IDS) == {}
    assert not (tmp_path / "not").exists()
    cache.put("clean", IDS, latents())
    assert cache.get("clean", IDS[:0]) == {}


def test_rows_come_back_in_any_order_bit_by_bit(tmp_path: Path) -> None:
    first = TensorCache(tmp_path)
    first.put("clean", IDS, latents())
    for cache in (first, TensorCache(tmp_path)):
        found = rows(cache, "clean", (IDS[2], IDS[0], IDS[2]))
        assert torch.equal(found, latents()[[2, 0, 2]])
    assert [p.suffix for p in tmp_path.iterdir()] == [".safetensors"]


def test_what_was_put_is_a_copy(tmp_path: Path) -> None:
    z0, cache = latents(), TensorCache(tmp_path)
    cache.put("clean", IDS, z0.requires_grad_())
    with torch.no_grad():
        z0.zero_()
    found = rows(cache, "clean", IDS)
    assert torch.equal(found, latents())
    assert not found.requires_grad


def test_views_are_kept_apart(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    cache.put("clean", IDS, latents(0))
    assert cache.get("flip", IDS) == {}
    cache.put("flip", IDS, latents(1))
    for view, seed in (("clean", 0), ("flip", 1)):
        found = rows(cache, view, IDS)
        assert torch.equal(found, latents(seed))


def test_rows_that_are_there_are_found_beside_missing_ones(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    cache.put("clean", IDS, latents())
    assert list(cache.get("clean", (*IDS, "openmoji:d"))) == list(IDS)
    cache.put("clean", ("openmoji:d",), latents(5, 1))
    found = rows(cache, "clean", ("openmoji:d", IDS[1]))
    assert torch.equal(found, torch.cat([latents(5, 1), latents()[[1]]]))


def test_what_another_process_puts_is_found(tmp_path: Path) -> None:
    """Two caches of one folder share no memory, like two processes."""
    one, two = TensorCache(tmp_path), TensorCache(tmp_path)
    assert two.get("clean", IDS) == {}
    one.put("clean", IDS, latents())
    found = rows(two, "clean", IDS)
    assert torch.equal(found, latents())


def test_the_same_rows_may_be_put_twice(tmp_path: Path) -> None:
    for _ in range(2):
        TensorCache(tmp_path).put("clean", IDS, latents())
    assert len(shards(tmp_path)) == 2
    found = rows(TensorCache(tmp_path), "clean", IDS)
    assert torch.equal(found, latents())


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_truncated_shard_is_dropped_and_built_again(keep: int, tmp_path: Path) -> None:
    TensorCache(tmp_path).put("clean", IDS, latents())
    TensorCache(tmp_path).put("clean", ("openmoji:d",), latents(5, 1))
    (broken,) = [p for p in shards(tmp_path) if b"openmoji:a" in p.read_bytes()]
    broken.write_bytes(broken.read_bytes()[:keep])

    cache = TensorCache(tmp_path)
    assert cache.get("clean", IDS) == {}
    assert not broken.exists()
    kept = rows(cache, "clean", ("openmoji:d",))
    assert torch.equal(kept, latents(5, 1))
    cache.put("clean", IDS, latents())
    found = rows(TensorCache(tmp_path), "clean", IDS)
    assert torch.equal(found, latents())


def test_a_file_that_is_no_shard_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "junk.safetensors").write_bytes(b"\xff" * 64)
    (tmp_path / "half.part").write_bytes(b"half")
    assert TensorCache(tmp_path).get("clean", IDS) == {}
    assert [p.name for p in tmp_path.iterdir()] == ["half.part"]


def test_a_shard_that_another_process_drops_meanwhile_is_no_error(tmp_path: Path) -> None:
    """Listed, and gone when it is opened: a dangling link looks like that at any time."""
    TensorCache(tmp_path).put("clean", IDS, latents())
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    found = rows(TensorCache(tmp_path), "clean", IDS)
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
    assert cache.get("clean", IDS) == {}
    cache.put("clean", IDS, latents(1))
    found = rows(cache, "clean", IDS)
    assert torch.equal(found, latents(1))


def test_a_failed_write_leaves_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    cache = TensorCache(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("mia_bench.data.cache.save_file", full_disk)
        with pytest.raises(OSError, match="No space left"):
            cache.put("clean", IDS, latents())
    assert not shards(tmp_path)
    assert cache.get("clean", IDS) == {}


def test_a_bounded_cache_drops_what_was_not_read_for_longest(tmp_path: Path) -> None:
    """Room for three shards, of two encoders: the one in use stays, the oldest other goes."""
    shard = 3 * 4 * 8 * 8 * 4
    one = TensorCache(tmp_path / "one", limit=int(3.6 * shard))
    other = TensorCache(tmp_path / "other", limit=int(3.6 * shard))
    for age, (cache, view) in enumerate([(one, "a"), (one, "b"), (other, "c")]):
        cache.put(view, IDS, latents(age))
        for path in {*cache.folder.glob("*")} - {*_dated(tmp_path)}:
            os.utime(path, (age + 1, age + 1))
    assert TensorCache(tmp_path / "one").get("a", IDS)  # the oldest, read just now
    other.put("d", IDS, latents(3))
    assert TensorCache(tmp_path / "one").get("b", IDS) == {}
    for folder, view in (("one", "a"), ("other", "c"), ("other", "d")):
        assert TensorCache(tmp_path / folder).get(view, IDS)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) < 3.6 * shard


def test_what_is_larger_than_the_limit_is_kept_until_the_next(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "one", limit=10)
    for seed in range(3):
        cache.put("clean", IDS, latents(seed))
        assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    found = rows(cache, "clean", IDS)
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


def test_of_a_row_written_twice_every_later_process_reads_the_same(tmp_path: Path) -> None:
    """Two processes may have encoded it at once, with other last digits."""
    for seed in range(6):
        TensorCache(tmp_path).put("clean", IDS, latents(seed))
    first = rows(TensorCache(tmp_path), "clean", IDS)
    for _ in range(5):
        assert torch.equal(rows(TensorCache(tmp_path), "clean", IDS), first)


def test_a_target_encodes_only_rows_that_are_not_stored(tmp_path, random_target, random_batch):
    """A batch of other rows too gives a stored row its stored latent, to the bit."""
    target, batch = random_target(store=TensorCache(tmp_path)), random_batch(5)
    part = Batch(batch.sample_id[1:3], batch.image[1:3], batch.caption[1:3])
    stored = target.view(part).z0 + 0.0
    target.store.put("clean", ["random:other"], stored[:1])
    encoded: list[int] = []
    encode = target.encode
    target.encode = lambda image: encoded.append(len(image)) or encode(image)
    target.forget()
    found = target.view(batch).z0
    assert encoded == [3]
    assert torch.equal(found[1:3], stored)
    again = random_target(store=TensorCache(tmp_path))
    assert torch.equal(again.view(batch).z0, found)
    assert torch.allclose(found, random_target().encode(batch.image), atol=1e-6)


def test_a_transform_sees_the_whole_batch(tmp_path, random_target, random_batch):
    """Damage is drawn per row: rows to encode are taken after it."""
    target, batch = random_target(store=TensorCache(tmp_path)), random_batch(4)
    scale = torch.arange(1.0, 5.0).view(4, 1, 1, 1)
    target.store.put("dim", batch.sample_id[:2], target.encode(batch.image * scale)[:2])
    found = target.view(batch, "dim", lambda image: image * scale).z0
    assert torch.allclose(found, random_target().encode(batch.image * scale), atol=1e-6)
