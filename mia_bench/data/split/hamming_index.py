"""Pairs of 64-bit hashes that differ in few bits, without comparing all of them.

Multi-index hashing (Norouzi et al. 2014, arXiv 1307.2982): of two hashes that differ in at most d
bits, one of their four 16-bit blocks differs in at most d // 4. So each block in turn is a table of
buckets, and a hash is compared with those in its own bucket and in the buckets so near to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]

BLOCKS, BLOCK_BITS = 4, 16
BUCKETS = 1 << BLOCK_BITS
LARGEST_BLOCK_RADIUS = 2  # 137 buckets a hash and block; beyond, all pairs are cheaper
CANDIDATES_PER_STEP = 1 << 21  # pairs compared at once: about 100 MB


def serves(max_distance: int) -> bool:
    """Whether the index finds pairs at `max_distance` with less work than comparing all."""
    return max_distance // BLOCKS <= LARGEST_BLOCK_RADIUS


def near_pairs(hashes: Hashes, max_distance: int) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of rows of `hashes` (N,) that differ in at most `max_distance` bits.

    Each pair comes at least once and at most once a block, in parts; memory is O(N).
    """
    flips = _flips(max_distance // BLOCKS)
    for block in range(BLOCKS):
        shift = np.uint64(block * BLOCK_BITS)
        bucket = ((hashes >> shift) & np.uint64(BUCKETS - 1)).astype(np.intp)
        order = np.argsort(bucket, kind="stable")
        begins = np.searchsorted(bucket[order], np.arange(BUCKETS + 1))
        table = hashes[order], bucket[order], begins
        for flip in flips:
            for left, right in _pairs_across(*table, flip, max_distance):
                yield order[left], order[right]


def _flips(radius: int) -> list[int]:
    """Masks of a block with at most `radius` bits set."""
    return [
        sum(1 << bit for bit in bits)
        for weight in range(radius + 1)
        for bits in combinations(range(BLOCK_BITS), weight)
    ]


def _pairs_across(
    hashes: Hashes, bucket: Rows, begins: Rows, flip: int, max_distance: int
) -> Iterator[tuple[Rows, Rows]]:
    """Near pairs between buckets that differ by `flip`, of hashes sorted by bucket."""
    other = bucket ^ flip
    # within one bucket a row meets those after it; of two buckets the rows of the lower one ask
    first = np.arange(1, len(bucket) + 1) if flip == 0 else begins[other]
    count = np.where(other >= bucket, begins[other + 1] - first, 0)
    ends = np.cumsum(count)
    row = 0
    while row < len(bucket):
        done = ends[row - 1] if row else 0
        last = max(row + 1, int(np.searchsorted(ends, done + CANDIDATES_PER_STEP, side="right")))
        counts = count[row:last]
        left = np.repeat(np.arange(row, last), counts)
        # where the candidates of a row begin in this step, and from there one after the other
        offset = first[row:last] - (ends[row:last] - counts - done)
        right = np.repeat(offset, counts) + np.arange(len(left))
        near = np.bitwise_count(hashes[left] ^ hashes[right]) <= max_distance
        if near.any():
            yield left[near], right[near]
        row = last
