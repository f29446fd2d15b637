"""Tensors that outlive a run: content-addressed shards of safetensors in one folder.

A shard is written once under a name nobody else uses and renamed into place, so processes may share
a cache without a lock; the same key written twice holds the same value. A cache may be bounded: the
shards that were not read for longest go first, whichever process wrote them, and whoever misses one
computes it again.

Latents are worth their place: a VAE encoding of 512 px costs 1,117 GFLOP and 64 KiB. Embeddings of
captions are not kept: 13 GFLOP, less than 2 % of one U-Net evaluation, for 231 KiB a caption.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

STALE = 86_400.0  # seconds after which a file that was never renamed belongs to nobody


class TensorCache:
    """Latents by (view, sample id) in `folder`, whose name carries the hash of the encoder.

    `limit`: bytes that `folder` and the caches beside it may take together; None: no limit.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder, self.limit = folder, limit
        self._size: int | None = None  # of all caches, as last seen
        self._where: dict[str, Path] = {}
        self._seen: set[Path] = set()
        self._open: dict[Path, Any] = {}

    def get(self, view: str, sample_id: Sequence[str]) -> dict[str, Tensor]:
        """Latents of those rows that are there, by sample id."""
        keys = {sid: f"{view}|{sid}" for sid in sample_id}
        if not all(key in self._where for key in keys.values()):
            self._look_again()
        here = {sid: key for sid, key in keys.items() if key in self._where}
        try:
            return {sid: self._shard(self._where[k]).get_tensor(k) for sid, k in here.items()}
        except (SafetensorError, OSError):  # another process dropped a shard: encode again
            self._where, self._seen, self._open = {}, set(), {}
            return {}

    def put(self, view: str, sample_id: Sequence[str], z0: Tensor) -> None:
        rows = {
            f"{view}|{sid}": row.cpu().contiguous().clone()
            for sid, row in zip(sample_id, z0, strict=True)
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        save_file(rows, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)
        self._seen.add(path)
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
            if path.suffix == ".safetensors" or time.time() - seen.st_mtime > STALE:
                yield seen.st_mtime, seen.st_size, path

    def _look_again(self) -> None:
        # in one order: of a row that two processes encoded at once, all later ones read one
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._seen):
            self._seen.add(path)
            try:
                with safe_open(path, framework="pt") as shard:
                    for key in shard.keys():  # noqa: SIM118 - a handle, no mapping
                        self._where.setdefault(key, path)
            except (SafetensorError, OSError):
                path.unlink(missing_ok=True)  # a cache entry is rebuilt, never repaired

    def _shard(self, path: Path) -> Any:
        """An open shard: memory-mapped, so a row is read when it is asked for and never kept."""
        if path not in self._open:
            os.utime(path)  # when it was last used
            self._open[path] = safe_open(path, framework="pt")
        return self._open[path]
