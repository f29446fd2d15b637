"""Random generators that are keyed by names: order, batches and ranks cannot matter."""

from __future__ import annotations

import hashlib

import numpy as np


def keyed_generator(*key: int | str | None) -> np.random.Generator:
    """A counter-based generator whose stream is fixed by a 128-bit hash of `key`.

    torch's CPU generator is no substitute: it uses the low 32 bits of its seed only.
    """
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
