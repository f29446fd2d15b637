"""How often the controls of a run raise a false alarm where nobody is a member.

A null run is a random re-split, by whole groups, of the evaluation rows of the default run: real
pictures, real captions, and CLiD's real features on the untouched base. For blind_file every
picture is stored in one of STORAGES, whoever it is dealt to. The blind rows and the base row are
computed and judged together (Holm) by the code of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np

from mia_bench.attacks import Floats
from mia_bench.data.pictures.preprocessing import to_rgb
from mia_bench.data.source import Item
from mia_bench.evaluation.controls.blind_baselines import (
    blind_file_row,
    cross_fitted,
    image_statistics,
)
from mia_bench.evaluation.controls.file_features import file_features
from mia_bench.honesty.random_splits import split
from mia_bench.metrics import permutation
from mia_bench.metrics.permutation import base_p_value, holm
from mia_bench.utils.rng import keyed_generator

STORAGES: tuple[tuple[str, dict[str, int]], ...] = (
    ("PNG", {}),
    ("JPEG", {"quality": 92, "subsampling": 0}),
    ("JPEG", {"quality": 85, "subsampling": 2}),
    ("WEBP", {"quality": 80}),
)
"""Format and options of Pillow that a picture may be stored with."""


def stored(item: Item, size: int) -> Item:
    """`item` with a picture file, of a format that its id alone decides."""
    kind, options = STORAGES[keyed_generator("stored", item.sample_id).integers(len(STORAGES))]
    written = BytesIO()
    to_rgb(item.load(size)).save(written, kind, **options)
    return replace(item, raw=written.getvalue)


@dataclass(frozen=True)
class ControlRows:
    """What the controls see: statistics of images (N, F), captions, groups, scores on the base, and
    features of files (N, F), where there are any."""

    image: Floats
    captions: list[str]
    group: Sequence[str]
    base_scores: Floats
    files: Floats | None = None

    @classmethod
    def of(
        cls, items: Sequence[Item], group: Sequence[str], scores: Floats, size: int
    ) -> ControlRows:
        files = file_features([stored(item, size) for item in items])
        captions = [item.caption for item in items]
        return cls(image_statistics(items, size), captions, group, scores, files)


def flagged(rows: ControlRows, members: int, seed: int) -> list[str]:
    """Which controls are flagged in one random split."""
    member, group = split(rows.group, members, seed), np.array(rows.group)
    blind = cross_fitted(rows.image, rows.captions, member, group, seed)
    if rows.files is not None:
        blind.append(blind_file_row(rows.files, member, group, seed))
    p_values = {row.name: row.p_value for row in blind}
    p_values["base"] = base_p_value(rows.base_scores, member, group, seed)
    return holm(p_values)


def false_alarms(rows: ControlRows, members: int, runs: int, permutations: int) -> list[list[str]]:
    """What is flagged in each of `runs` null runs, by p-values of so many permutations at most."""
    default = permutation.PERMUTATIONS
    permutation.PERMUTATIONS = permutations
    try:
        return [flagged(rows, members, seed) for seed in range(runs)]
    finally:
        permutation.PERMUTATIONS = default
