"""Tensors that outlive a run: content-addressed shards of safetensors in one folder.

A shard is written once under a name nobody else uses and renamed into place, so processes may share
a cache without a lock; the same key written twice holds the same value.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


class TensorCache:
    """Latents by (view, sample id) in `folder`, whose name carries the hash of the encoder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._where: dict[str, Path] = {}
        self._seen: set[Path] = set()
        self._open: dict[Path, Any] = {}

    def get(self, view: str, sample_id: Sequence[str]) -> Tensor | None:
        """(B, *latent) when every row is there, else None."""
        keys = [f"{view}|{sid}" for sid in sample_id]
        if not all(key in self._where for key in keys):
            self._look_again()
        if not keys or not all(key in self._where for key in keys):
            return None
        try:
            return torch.stack([self._shard(self._where[key]).get_tensor(key) for key in keys])
        except (SafetensorError, OSError):  # another process dropped a shard: encode again
            self._where, self._seen, self._open = {}, set(), {}
            return None

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

    def _look_again(self) -> None:
        for path in set(self.folder.glob("*.safetensors")) - self._seen:
            self._seen.add(path)
            try:
                with safe_open(path, framework="pt") as shard:
                    self._where.update(dict.fromkeys(shard.keys(), path))
            except (SafetensorError, OSError):
                path.unlink(missing_ok=True)  # a cache entry is rebuilt, never repaired

    def _shard(self, path: Path) -> Any:
        """An open shard: memory-mapped, so a row is read when it is asked for and never kept."""
        if path not in self._open:
            self._open[path] = safe_open(path, framework="pt")
        return self._open[path]
