"""Tensors that outlive a run: content-addressed shards of safetensors in one folder.

A shard is written once under the hash of its content, which is checked before anything is read from
it, so processes may share a cache without a lock. A key written twice may differ in its last
digits; whoever comes later reads the same of the two. A cache may be bounded: the shards that were
not read for longest go first, whichever process wrote them, and whoever misses or finds one damaged
computes it again. A cache that cannot be written is done without.

Latents are worth their place: a VAE encoding of 512 px costs 1,117 GFLOP and 64 KiB. Embeddings of
captions are not kept: 13 GFLOP, less than 2 % of one U-Net evaluation, for 231 KiB a caption.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mia_bench.storage.files import STALE_SECONDS, replacing
from mia_bench.utils.terminal import echo


class DamagedEntry(OSError):  # noqa: N818
    """A shard whose content is not that of its name."""


class TensorCache:
    """Latents by (view, sample id) in `folder`, whose name carries the hash of the encoder.

    `limit`: bytes that `folder` and the caches beside it may take together; None: no limit.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder, self.limit = folder, limit
        self._silent = False
        self._size: int | None = None  # of all caches, as last seen
        self._where: dict[str, Path] = {}
        self._seen: set[Path] = set()
        self._open: dict[Path, Any] = {}

    def get(self, view: str, sample_id: Sequence[str]) -> dict[str, Tensor]:
        """Latents (*latent) of the samples that are there."""
        keys = {sid: f"{view}|{sid}" for sid in sample_id}
        if not all(key in self._where for key in keys.values()):
            self._look_again()
        rows = {sid: self._row(key) for sid, key in keys.items()}
        return {sid: row for sid, row in rows.items() if row is not None}

    def has(self, view: str, sample_id: Sequence[str]) -> set[str]:
        """The samples that are there, without reading them."""
        self._look_again()
        return {sid for sid in sample_id if f"{view}|{sid}" in self._where}

    def _row(self, key: str) -> Tensor | None:
        if key not in self._where:
            return None
        try:
            row: Tensor = self._shard(self._where[key]).get_tensor(key)
        except (SafetensorError, OSError) as error:  # dropped by another process, or damaged
            lost = self._where[key]
            if isinstance(error, DamagedEntry):
                echo(f"{error}: encoded again", error=True)
            self._where = {k: path for k, path in self._where.items() if path != lost}
            self._open.pop(lost, None)
            return None
        return row

    def put(self, view: str, sample_id: Sequence[str], z0: Tensor) -> None:
        rows = {
            f"{view}|{sid}": row.cpu().contiguous().clone()
            for sid, row in zip(sample_id, z0, strict=True)
        }
        data = save(rows)
        path = self.folder / f"{_digest(data)}.safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_bytes(data)
        except OSError as error:
            if not self._silent:
                echo(f"latents are not kept: cannot write {path}: {error}", error=True)
            self._silent = True
            return
        self._seen.add(path)
        self._open.pop(path, None)
        self._where.update(dict.fromkeys(rows, path))
        self._keep_within_limit(path)

    def _keep_within_limit(self, newest: Path) -> None:
        """Delete the least recently used shards, down to 90 % of the limit once it is passed."""
        if self.limit is None:
            return
        if self._size is None:
            self._size = sum(size for _, size, _ in self._shards())
        else:
            self._size += newest.stat().st_size if newest.exists() else 0
        if self._size <= self.limit:
            return
        shards = sorted(self._shards())
        self._size = sum(size for _, size, _ in shards)
        for _, size, path in shards:
            if self._size <= 0.9 * self.limit:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                self._size -= size

    def _shards(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, path) of every shard of every encoder, and of parts left by a kill."""
        for path in self.folder.parent.glob("*/*"):
            try:
                seen = path.stat()
            except OSError:  # another process dropped it
                continue
            if path.suffix == ".safetensors" or time.time() - seen.st_mtime > STALE_SECONDS:
                yield seen.st_mtime, seen.st_size, path

    def _look_again(self) -> None:
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._seen):
            self._seen.add(path)
            try:
                with safe_open(path, framework="pt") as shard:
                    for key in shard.keys():  # noqa: SIM118 - no dictionary
                        self._where.setdefault(key, path)
            except (SafetensorError, OSError):
                path.unlink(missing_ok=True)  # a cache entry is rebuilt, never repaired

    def _shard(self, path: Path) -> Any:
        """An open shard: memory-mapped, so a row is read when it is asked for and never kept."""
        if path not in self._open:
            if _digest(path.read_bytes()) != path.stem:
                path.unlink(missing_ok=True)
                raise DamagedEntry(f"{path} is not what was written")
            os.utime(path)  # when it was last used
            self._open[path] = safe_open(path, framework="pt")
        return self._open[path]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
