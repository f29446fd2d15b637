"""The index finds what comparing all pairs finds, whatever the hashes look like."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.data.split import hamming_index, near_duplicates


def all_pairs(hashes: np.ndarray, max_distance: int) -> set[tuple[int, int]]:
    """Literally: every pair, bit by bit."""
    texts = [f"{value:064b}" for value in hashes.tolist()]
    return {
        (i, j)
        for i in range(len(texts))
        for j in range(i)
        if sum(a != b for a, b in zip(texts[i], texts[j], strict=True)) <= max_distance
    }


def indexed(hashes: np.ndarray, max_distance: int) -> set[tuple[int, int]]:
    pairs = hamming_index.near_pairs(hashes, max_distance)
    found = [pair for part in pairs for pair in zip(*map(np.ndarray.tolist, part), strict=True)]
    return {(max(pair), min(pair)) for pair in found}


def clustered(n: int, seed: int, flips: int) -> np.ndarray:
    """Hashes around a few centres, `flips` bits away at most: most pairs are near the limit."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 8, dtype=np.uint64)
    hashes = centres[rng.integers(0, len(centres), n)]
    for _ in range(flips):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64))
    return hashes


@pytest.mark.parametrize("max_distance", [0, 1, 3, 4, 6, 7, 8, 11])
@pytest.mark.parametrize("flips", [2, 5])
def test_the_pairs_are_those_of_all_comparisons(max_distance, flips):
    hashes = clustered(90, max_distance, flips)
    assert indexed(hashes, max_distance) == all_pairs(hashes, max_distance)


def test_six_bits_may_lie_anywhere():
    """Each way to deal six different bits to the four blocks."""
    pairs = []
    for a in range(7):
        for b in range(7 - a):
            for c in range(7 - a - b):
                bits = [*range(a), *range(16, 16 + b), *range(32, 32 + c)]
                bits += range(48, 48 + 6 - len(bits))
                pairs.append(sum(1 << bit for bit in bits))
    hashes = np.array([0, *pairs], dtype=np.uint64)
    found = indexed(hashes, 6)
    assert {(i, 0) for i in range(1, len(hashes))} <= found


def test_steps_are_bounded_and_lose_nothing(monkeypatch):
    hashes = clustered(200, 3, 3)
    expected = indexed(hashes, 6)
    for most in (1, 7, 1000):
        monkeypatch.setattr(hamming_index, "CANDIDATES_PER_STEP", most)
        assert indexed(hashes, 6) == expected


def test_nothing_and_one_hash_have_no_pairs():
    for n in (0, 1):
        assert indexed(np.zeros(n, dtype=np.uint64), 6) == set()


def test_distances_at_which_all_pairs_are_cheaper_are_left_to_them():
    assert hamming_index.serves(near_duplicates.MAX_DISTANCE)
    assert not hamming_index.serves(12)


@pytest.mark.long
def test_groups_of_20_000_are_those_of_all_pairs(monkeypatch):
    hashes = np.concatenate([clustered(19_000, 5, 12), clustered(1_000, 6, 2)])
    ids, captions = [f"s:{i:06d}" for i in range(len(hashes))], [""] * len(hashes)
    groups = near_duplicates.group(ids, hashes, captions)
    monkeypatch.setattr(near_duplicates, "ALL_PAIRS_UP_TO", len(hashes))
    assert groups == near_duplicates.group(ids, hashes, captions)
    assert 8 < len(set(groups)) < len(ids)


def components(count: int, pairs: set[tuple[int, int]]) -> list[int]:
    """The smallest row that each row is joined with."""
    first = list(range(count))
    for _ in range(count):
        before = list(first)
        for i, j in pairs:
            first[i] = first[j] = min(first[i], first[j])
        if first == before:
            break
    return first


@pytest.mark.parametrize("flips", [2, 5, 9])
def test_crowded_buckets_join_what_all_pairs_join(monkeypatch, flips):
    monkeypatch.setattr(hamming_index, "CROWDED_PAIRS", 6)
    monkeypatch.setattr(hamming_index, "CROWDED_ROWS_PER_STEP", 2)
    hashes = clustered(140, flips, flips)
    pairs, literal = indexed(hashes, 6), all_pairs(hashes, 6)
    assert {pair for pair in pairs if pair[0] != pair[1]} <= literal
    assert components(140, pairs) == components(140, literal)
