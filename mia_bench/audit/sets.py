"""The two sets of pictures before a model is asked: what is left out, and how they differ.

A picture in both sets, or one that nearly equals one of the other set, answers nothing: it is named
and left out. Near-duplicates inside a set stay and count once. What the files say beside the
picture (format, size, JPEG quality) must not tell the sets apart, or a model's answer may rest on
that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mia_bench.data.folders import MEMBER, NONMEMBER
from mia_bench.data.pictures.image_file import formats
from mia_bench.data.source import Item, Listing, Skip
from mia_bench.data.split.near_duplicates import MAX_DISTANCE, group, perceptual_hashes
from mia_bench.evaluation.controls.file_features import jpeg_facts
from mia_bench.metrics.inference.exact_permutation import permutation_test
from mia_bench.metrics.inference.multiple_tests import holm_adjusted
from mia_bench.storage.hashing import hash_key

DIFFERENCE_DRAWS = 9_999


@dataclass(frozen=True)
class FileFacts:
    """What a picture's file says beside its pixels; `quality`: JPEG's, None for other formats."""

    format: str
    width: int
    height: int
    quality: int | None


@dataclass(frozen=True)
class SetDifference:
    """A fact of the files in both sets, in words, with its two-sided p after Holm's adjustment."""

    fact: str
    first: str
    second: str
    p_value: float


@dataclass(frozen=True)
class ComparedSets:
    """Pictures of both sets that are compared: item i has group[i], and pool `member` or not.

    `overlaps`: names of pictures left out, in pairs where two resemble each other. `unreadable`:
    files that hold no picture that can be read. `repeated`: pictures of the first and the second
    set that nearly equal another of their own set.
    """

    items: tuple[Item, ...]
    group: tuple[str, ...]
    listing: Listing
    overlaps: tuple[str, ...]
    unreadable: tuple[Skip, ...]
    repeated: tuple[int, int]
    facts: Mapping[str, FileFacts]
    """By sample id; without those of files whose name cannot be written down."""

    @property
    def is_first(self) -> NDArray[np.bool_]:
        return np.array([item.pool == MEMBER for item in self.items], dtype=np.bool_)

    @property
    def counts(self) -> tuple[int, int]:
        first = int(self.is_first.sum())
        return first, len(self.items) - first

    @property
    def groups(self) -> tuple[int, int]:
        """Independent pictures of either set: near-duplicates counted once."""
        sides = (self.is_first, ~self.is_first)
        first, second = (len(set(np.array(self.group)[side])) for side in sides)
        return first, second

    @property
    def content(self) -> str:
        return hash_key([[i.sample_id, i.caption, g, i.pool] for i, g in self._pairs()])

    def _pairs(self) -> list[tuple[Item, str]]:
        return list(zip(self.items, self.group, strict=True))


def readable(listing: Listing) -> Listing:
    """The pictures that can be read, each read once in this process."""
    kept, _ = perceptual_hashes(listing)
    return kept


def compare_sets(listing: Listing, folders: Mapping[str, Path], variants: bool) -> ComparedSets:
    """Read every picture once; group, and leave out what is in both sets.

    Args:
        folders: of the pools `member` and `nonmember`.
        variants: the second set holds versions of the first set's pictures, which resemble them by
            design: no picture is left out but exact copies, and each is a group of its own.
    """
    kept, hashes = perceptual_hashes(listing)
    ids = [item.sample_id for item in kept.items]
    labels = ids if variants else group(ids, hashes, [""] * len(ids), MAX_DISTANCE)
    pools: dict[str, set[str]] = {}
    for item, label in zip(kept.items, labels, strict=True):
        pools.setdefault(label, set()).update(item.pool.split("+"))
    across = {label for label, inside in pools.items() if len(inside) > 1}
    pairs = list(zip(kept.items, labels, strict=True))
    stay = [(item, label) for item, label in pairs if label not in across]
    items, group_labels = tuple(i for i, _ in stay), tuple(g for _, g in stay)
    sets = ComparedSets(
        items,
        group_labels,
        kept,
        _named(pairs, across),
        tuple(skip for skip in kept.skipped if skip.broken),
        (0, 0),
        {i.sample_id: facts for i in items if (facts := _facts(i, folders)) is not None},
    )
    (first, second), (groups1, groups0) = sets.counts, sets.groups
    return replace(sets, repeated=(first - groups1, second - groups0))


def _named(pairs: Sequence[tuple[Item, str]], across: set[str]) -> tuple[str, ...]:
    """'a.png = b.png' for every group that reaches into both sets."""
    names: dict[str, list[str]] = {}
    for item, label in pairs:
        if label in across:
            twice = " (in both)" if "+" in item.pool else ""
            names.setdefault(label, []).append(f"{item.name}{twice}")
    return tuple(" = ".join(sorted(inside)) for inside in names.values())


def _facts(item: Item, folders: Mapping[str, Path]) -> FileFacts | None:
    folder = folders.get(item.pool)
    path = folder and folder / item.name
    if path is None or not path.is_file():
        return None
    try:
        with Image.open(path, formats=formats()) as image:
            quality = jpeg_facts(image).qualities[0] or None
            return FileFacts(str(image.format), *image.size, quality)
    except Exception:  # a header that only the decoder of the pixels accepts
        return None


def differences(sets: ComparedSets, seed: int) -> list[SetDifference]:
    """How format, size and quality of the two sets compare; only facts that vary at all."""
    sides = {pool: _of_pool(sets, pool) for pool in (MEMBER, NONMEMBER)}
    first, second = sides[MEMBER], sides[NONMEMBER]
    measured = {
        "format": _by_format(first, second),
        "size": _by_number(
            [f.width * f.height for f in first], [f.width * f.height for f in second], seed
        ),
        "JPEG quality": _by_number(_qualities(first), _qualities(second), seed),
    }
    p_values = {fact: p for fact, p in measured.items() if p is not None}
    adjusted = holm_adjusted(p_values)
    words = {"format": _formats, "size": _sizes, "JPEG quality": _quality_words}
    return [SetDifference(f, words[f](first), words[f](second), p) for f, p in adjusted.items()]


def _of_pool(sets: ComparedSets, pool: str) -> list[FileFacts]:
    ids = [item.sample_id for item in sets.items if item.pool == pool]
    return [sets.facts[sid] for sid in ids if sid in sets.facts]


def _pixels(facts: Sequence[FileFacts]) -> list[int]:
    return [f.width * f.height for f in facts]


def _qualities(facts: Sequence[FileFacts]) -> list[int]:
    return [f.quality for f in facts if f.quality is not None]


def _by_number(first: Sequence[int], second: Sequence[int], seed: int) -> float | None:
    """Two-sided p of the permutation test of ranks; None where nothing varies, or without rows."""
    from scipy.stats import rankdata

    both = [*first, *second]
    if not first or not second or len(set(both)) < 2:
        return None
    ranks, is_first = rankdata(both), np.arange(len(both)) < len(first)
    sides = (ranks, -ranks)
    least = min(permutation_test(r, is_first, seed, DIFFERENCE_DRAWS).p_value for r in sides)
    return min(1.0, 2 * least)


def _by_format(first: Sequence[FileFacts], second: Sequence[FileFacts]) -> float | None:
    """Fisher's exact p of the format that differs most, adjusted for how many there are."""
    from scipy.stats import fisher_exact

    names = {f.format for f in [*first, *second]}
    if len(names) < 2 or not first or not second:
        return None
    tables = [[_counted(side, name) for side in (first, second)] for name in names]
    p = [float(fisher_exact(counts)[1]) for counts in tables]
    return min(1.0, min(p) * (len(names) - 1))


def _counted(facts: Sequence[FileFacts], name: str) -> list[int]:
    """Files of a format, and others."""
    of_format = sum(f.format == name for f in facts)
    return [of_format, len(facts) - of_format]


def _formats(facts: Sequence[FileFacts]) -> str:
    counts = Counter(f.format for f in facts).most_common(3)
    return ", ".join(f"{count} {name}" for name, count in counts) or "none"


def _sizes(facts: Sequence[FileFacts]) -> str:
    if not facts:
        return "none"
    ordered = sorted(facts, key=lambda f: f.width * f.height)
    return _range([f"{facts.width}x{facts.height}" for facts in ordered])


def _quality_words(facts: Sequence[FileFacts]) -> str:
    values = sorted(_qualities(facts))
    return _range([str(value) for value in values]) if values else "none"


def _range(ordered: Sequence[str]) -> str:
    """'median 95 (90 to 98)', or 'all 95'."""
    if len(set(ordered)) == 1:
        return f"all {ordered[0]}"
    return f"median {ordered[len(ordered) // 2]} ({ordered[0]} to {ordered[-1]})"
