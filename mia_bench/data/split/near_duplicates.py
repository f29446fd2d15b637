"""Near-duplicate groups: rows that must share a role, because knowing one tells about the other.

Two rows are linked when their 64-bit perceptual hashes differ in at most `max_distance` bits, or
when their captions are equal up to case, punctuation and spacing. Groups are the connected
components. The hash sees brightness and coarse shape only: hearts of all colours are one group,
while sparse drawings that differ in a few strokes can be further apart than they look. For those,
rows may also be linked when their 16x16 RGB thumbnails differ by an RMSE of at most `max_rmse`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

from mia_bench.data.pictures.preprocessing import to_rgb
from mia_bench.data.source import Item, Listing, Skip
from mia_bench.data.split import hamming_index, thumbnail_index
from mia_bench.data.split.components import Edges, link
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import tracked
from mia_bench.utils.text import printable

MAX_DISTANCE = 6
# One fixed size, so that the groups, and with them the split, do not depend on the model.
HASH_RESOLUTION = 64
MAX_GROUP_SHARE = 0.05
# Below this share of distinct captions they are labels: classes, or one prompt for all.
MIN_DISTINCT_SHARE = 0.2
FEW_COPIES = 4  # copies of one picture say nothing against a small set
ALL_PAIRS_UP_TO = 4_096  # hashes; building the index takes longer than comparing so few
BLOCK_ENTRIES = 1 << 22  # entries of one block of the distance matrix: 32 MiB of uint64
REMEMBERED_HASHES = 100_000
REMEMBERED_CAPTIONS = 16_384

THUMBNAIL_SIDE = 16

Hashes = npt.NDArray[np.uint64]
Thumbnails = npt.NDArray[np.float32]

_hash_of: dict[tuple[str, int], int] = {}


def perceptual_hashes(
    listing: Listing, resolution: int = HASH_RESOLUTION, stop: bool = False
) -> tuple[Listing, Hashes]:
    """Decode every picture once: (listing of the readable ones, their phash (N,) uint64).

    Unreadable pictures move to `skipped` with the decoder's message. Vector sources render at
    `resolution`. A progress bar appears on stderr where it takes long.

    Raises MiaError at the first unreadable picture when `stop`.
    """
    items: list[Item] = []
    hashes: list[int] = []
    skipped: list[Skip] = []
    for item in tracked(listing.items, "reading pictures"):
        try:
            hashes.append(_phash(item, resolution))
            items.append(item)
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error…
            kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
            reason = printable(f"unreadable: {kind}{error}")
            if stop:
                raise MiaError(
                    f"{item.name}: {reason}. Repair or remove it, or use data.on_error=skip."
                ) from error
            skipped.append(Skip(item.name, reason, broken=True))
    kept = replace(listing, items=tuple(items), skipped=(*listing.skipped, *skipped))
    return kept, np.array(hashes, dtype=np.uint64)


def thumbnails(listing: Listing, resolution: int = HASH_RESOLUTION) -> Thumbnails:
    """(N, 768) float32: every picture as 16x16 RGB, 0 to 255."""
    rows = [
        np.asarray(
            to_rgb(item.load(resolution)).resize(
                (THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX
            )
        ).ravel()
        for item in tracked(listing.items, "thumbnails")
    ]
    return np.array(rows, dtype=np.float32)


def group(
    sample_ids: Sequence[str],
    phash: Hashes,
    captions: Sequence[str],
    max_distance: int = MAX_DISTANCE,
    small: Thumbnails | None = None,
    max_rmse: float = 0.0,
    links: str | None = "both",
) -> list[str]:
    """Group label of each of N rows: the smallest sample id of its component.

    Labels do not depend on the order of the rows. Hashes are looked up in an index
    (hamming_index.py: a million random ones in 12 s of a core), memory O(N). With `small` ((N, 768)
    thumbnails) rows at an RMSE of at most `max_rmse` are linked as well (thumbnail_index.py).
    `links`: image, caption, both or none; None: both, where captions are of one picture each, see
    `telling_captions`.
    """
    if not len(sample_ids) == len(phash) == len(captions):
        raise ValueError(f"{len(sample_ids)} ids, {len(phash)} hashes, {len(captions)} captions")
    labels = np.arange(len(sample_ids), dtype=np.intp)
    # A caption without words says nothing: such rows are not linked by it.
    words = [normalise_caption(caption) or None for caption in captions]
    if links is None:
        words = telling_captions(words)
    edges_of: list[Iterable[Edges]] = []
    if links in (None, "both", "caption"):
        edges_of.append([_equal(words)])
    if links in (None, "both", "image"):
        edges_of += [[_equal(phash.tolist())], _near(phash, max_distance)]
        edges_of += [] if small is None else [_alike(small, max_rmse)]
    for edges in chain.from_iterable(edges_of):
        labels = link(labels, *edges)
    first: dict[int, str] = {}
    for label, id_ in zip(labels.tolist(), sample_ids, strict=True):
        first[label] = min(id_, first.get(label, id_))
    return [first[label] for label in labels.tolist()]


def telling_captions(words: Sequence[str | None]) -> list[str | None]:
    """Normalised captions (N) with None for those that say nothing of one picture.

    One for all, a few for everything (class labels, a Dreambooth prompt), or one that more than
    MAX_GROUP_SHARE of the rows share: pictures that have it in common need not be alike.
    """
    counts = Counter(word for word in words if word is not None)
    rows = sum(counts.values())
    if len(counts) < MIN_DISTINCT_SHARE * rows:
        return [None] * len(words)
    most = max(FEW_COPIES, MAX_GROUP_SHARE * len(words))
    return [None if word is None or counts[word] > most else word for word in words]


def caption_note(captions: Sequence[str]) -> str:
    """What is to be said where captions are equal and link nothing, or ""."""
    words = [normalise_caption(caption) or None for caption in captions]
    unlinked = [w for w, told in zip(words, telling_captions(words), strict=True) if w and not told]
    if not unlinked:
        return ""
    return (
        f"{len(unlinked):,} rows share {len(set(unlinked)):,} captions, which link no"
        " near-duplicates (data.duplicates=both links them)"
    )


def require_small_groups(
    groups: Sequence[str], captions: Sequence[str], limit: float = MAX_GROUP_SHARE
) -> None:
    """Raise MiaError when one group has more than `limit` of the rows: no split is random then."""
    label, size = Counter(groups).most_common(1)[0] if groups else ("", 0)
    if size <= max(FEW_COPIES, limit * len(groups)):
        return
    inside = [c for c, g in zip(captions, groups, strict=True) if g == label]
    distinct = len({normalise_caption(c) for c in inside})
    raise MiaError(
        f"one near-duplicate group holds {size:,} of {len(groups):,} rows"
        f" ({size / len(groups):.1%}, at most {limit:.0%} allowed), with {distinct:,} distinct"
        f" caption(s), for example {min(inside)[:120]!r}. With few distinct"
        " captions, captions repeat: use captions that describe each picture, or"
        " data.duplicates=image, which does not link equal ones. With many, pictures"
        " look alike (blank or uniform ones, one template): remove them from the source, or lower"
        " max_distance."
    )


@lru_cache(maxsize=REMEMBERED_CAPTIONS)
def normalise_caption(caption: str) -> str:
    """Words of `caption` in lower case, single-spaced; '' when it has no letter or digit."""
    folded = unicodedata.normalize("NFKC", caption).casefold()
    # marks are kept: without its vowel signs a Hindi or Thai word is another word
    words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded).split()
    return " ".join(word for word in words if any(map(str.isalnum, word)))


def _phash(item: Item, resolution: int) -> int:
    """Remembered within the process: jobs of a sweep split the same pictures again."""
    import imagehash

    key = (item.sample_id, resolution)  # the id is a hash of the picture's bytes
    if key not in _hash_of:
        bits = imagehash.phash(to_rgb(item.load(resolution))).hash
        if len(_hash_of) >= REMEMBERED_HASHES:
            _hash_of.clear()
        _hash_of[key] = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return _hash_of[key]


def _equal(keys: Sequence[Hashable | None]) -> Edges:
    """A chain of edges through the rows of each key; None equals nothing."""
    rows: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        if key is not None:
            rows.setdefault(key, []).append(row)
    edges = [edge for same in rows.values() for edge in pairwise(same)]
    first, second = np.array(edges, dtype=np.intp).reshape(-1, 2).T
    return first, second


def _near(phash: Hashes, max_distance: int) -> Iterator[Edges]:
    """Rows at Hamming distance <= max_distance: of few all pairs, one block at a time; of many
    those that an index brings together.

    One row stands for all with the same hash: thousands of blank pictures cost one comparison.
    """
    distinct, row = np.unique(phash, return_index=True)
    if len(distinct) > ALL_PAIRS_UP_TO and hamming_index.serves(max_distance):
        for left, right in hamming_index.near_pairs(distinct, max_distance):
            yield row[left], row[right]
        return
    step = max(1, BLOCK_ENTRIES // max(1, len(distinct)))
    for start in range(0, len(distinct), step):
        block, rest = distinct[start : start + step, None], distinct[None, start:]
        i, j = np.nonzero(np.bitwise_count(block ^ rest) <= max_distance)
        above = i < j
        yield row[i[above] + start], row[j[above] + start]


def _alike(small: Thumbnails, max_rmse: float) -> Iterator[Edges]:
    """Rows whose thumbnails differ by at most `max_rmse`: of few all pairs, of many those that
    join components."""
    if len(small) > ALL_PAIRS_UP_TO:
        yield from thumbnail_index.links(small, max_rmse)
        return
    squared = np.square(small).sum(axis=1)
    step = max(1, BLOCK_ENTRIES // max(1, len(small)))
    for start in range(0, len(small), step):
        block = slice(start, start + step)
        distance = squared[block, None] + squared[None] - 2 * small[block] @ small.T
        i, j = np.nonzero(distance <= max_rmse**2 * small.shape[1])
        above = i + start < j
        yield i[above] + start, j[above]
