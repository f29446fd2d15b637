"""How often the controls of a run raise a false alarm where nobody is a member.

A null run is a random re-split, by whole groups, of the evaluation rows of the default run: real
pictures, real captions, and CLiD's real features on the untouched base. The three blind rows and
the base row are computed and judged together (Holm) by the code of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mia_bench.attacks import Floats
from mia_bench.data.source import Item
from mia_bench.evaluation.blind_baselines import cross_fitted, image_statistics
from mia_bench.honesty.random_splits import split
from mia_bench.metrics import permutation
from mia_bench.metrics.permutation import base_p_value, holm


@dataclass(frozen=True)
class ControlRows:
    """What the controls see: statistics of images (N, F), captions, groups, scores on the base."""

    image: Floats
    captions: list[str]
    group: Sequence[str]
    base_scores: Floats

    @classmethod
    def of(
        cls, items: Sequence[Item], group: Sequence[str], scores: Floats, size: int
    ) -> ControlRows:
        return cls(image_statistics(items, size), [i.caption for i in items], group, scores)


def flagged(rows: ControlRows, members: int, seed: int) -> list[str]:
    """Which controls are flagged in one random split."""
    member, group = split(rows.group, members, seed), np.array(rows.group)
    blind = cross_fitted(rows.image, rows.captions, member, group, seed)
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
