"""Pairs of 64-bit hashes that differ in few bits, without comparing all of them.

Multi-index hashing (Norouzi et al. 2014, arXiv 1307.2982): of two hashes that differ in at most d
bits, one of their four 16-bit blocks differs in at most d // 4. So each block in turn is a table of
buckets, and a hash is compared with those in its own bucket and in the buckets so near to it.

Pictures of one kind crowd a bucket: of 200,000 drawings on white nearly all pairs may be near. In
crowded buckets hashes that are in one component already are not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mia_bench.data.split.components import Edges, Rows, link, most_common

Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

BLOCKS, BLOCK_BITS = 4, 16
BUCKETS = 1 << BLOCK_BITS
LARGEST_BLOCK_RADIUS = 2  # 137 buckets a hash and block; beyond, all pairs are cheaper
CANDIDATES_PER_STEP = 1 << 21  # pairs compared at once: about 100 MB
CROWDED_PAIRS = 1 << 18  # of two buckets, or of one with itself
CROWDED_ROWS_PER_STEP = 64


def serves(max_distance: int) -> bool:
    """Whether the index finds pairs at `max_distance` with less work than comparing all."""
    return max_distance // BLOCKS <= LARGEST_BLOCK_RADIUS


def near_pairs(hashes: Hashes, max_distance: int) -> Iterator[Edges]:
    """Pairs of rows of `hashes` (N,) that differ in at most `max_distance` bits, in parts.

    They join all rows that near pairs join. Outside crowded buckets each pair comes at least once
    and at most once a block. Memory is O(N).
    """
    flips = _flips(max_distance // BLOCKS)
    labels = np.arange(len(hashes), dtype=np.intp)
    for block in range(BLOCKS):
        shift = np.uint64(block * BLOCK_BITS)
        bucket = ((hashes >> shift) & np.uint64(BUCKETS - 1)).astype(np.intp)
        order = np.argsort(bucket, kind="stable")
        begins = np.searchsorted(bucket[order], np.arange(BUCKETS + 1))
        table = hashes[order], bucket[order], begins
        for flip in flips:
            crowded = _crowded(begins, flip)
            for left, right in _pairs_across(*table, flip, max_distance, crowded):
                yield order[left], order[right]
            joined = [
                _joining(hashes, labels, rows, max_distance)
                for rows in _rows_of_crowded(order, begins, crowded, flip)
            ]
            if joined:
                left, right = (np.concatenate(side) for side in zip(*joined, strict=True))
                labels = link(labels, left, right)
                yield left, right


def _flips(radius: int) -> list[int]:
    """Masks of a block with at most `radius` bits set."""
    return [
        sum(1 << bit for bit in bits)
        for weight in range(radius + 1)
        for bits in combinations(range(BLOCK_BITS), weight)
    ]


def _crowded(begins: Rows, flip: int) -> Flags:
    """Whether bucket b and bucket b ^ flip, for b <= b ^ flip, hold more than CROWDED_PAIRS."""
    sizes, bucket = np.diff(begins), np.arange(BUCKETS)
    other = bucket ^ flip
    crowded: Flags = (other >= bucket) & (sizes * sizes[other] > CROWDED_PAIRS)
    return crowded


def _rows_of_crowded(order: Rows, begins: Rows, crowded: Flags, flip: int) -> Iterator[Rows]:
    """The rows of each crowded bucket together with those of the bucket that differs by `flip`."""
    for first in np.flatnonzero(crowded).tolist():
        both = (first,) if flip == 0 else (first, first ^ flip)
        yield np.concatenate([order[begins[b] : begins[b + 1]] for b in both])


def _joining(hashes: Hashes, labels: Rows, rows: Rows, max_distance: int) -> Edges:
    """Edges between these rows (M,) that join all their components that have near rows.

    A few rows at a time, of components other than the largest, are compared with all that wait:
    where the rows are alike, the first few join nearly all. Worst, where none are near: M^2 / 2.
    """
    _, label = np.unique(labels[rows], return_inverse=True)
    lefts, rights = [rows[:0]], [rows[:0]]
    while len(others := np.flatnonzero(label != most_common(label))):
        step = others[:CROWDED_ROWS_PER_STEP]
        near = np.bitwise_count(hashes[rows[step], None] ^ hashes[rows]) <= max_distance
        i, j = np.nonzero(near)
        lefts.append(rows[step[i]])
        rights.append(rows[j])
        waits = np.ones(len(rows), dtype=np.bool_)
        waits[step] = False
        _, label = np.unique(link(label, step[i], j)[waits], return_inverse=True)
        rows = rows[waits]
    return np.concatenate(lefts), np.concatenate(rights)


def _pairs_across(
    hashes: Hashes, bucket: Rows, begins: Rows, flip: int, max_distance: int, crowded: Flags
) -> Iterator[Edges]:
    """Near pairs between buckets that differ by `flip`, of hashes sorted by bucket, but for those
    of `crowded` buckets."""
    other = bucket ^ flip
    # within one bucket a row meets those after it; of two buckets the rows of the lower one ask
    first = np.arange(1, len(bucket) + 1) if flip == 0 else begins[other]
    count = np.where((other >= bucket) & ~crowded[bucket], begins[other + 1] - first, 0)
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
