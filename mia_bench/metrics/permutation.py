"""Permutation p-values, and which of several controls Holm's adjustment flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from mia_bench.metrics.inference.multiple_tests import holm_adjusted
from mia_bench.metrics.roc import Floats, auroc
from mia_bench.utils.rng import keyed_generator

PERMUTATIONS = 999
ENOUGH_AS_GOOD = 10  # permutations that did as well: p is known to be large, no need to go on
CONTROL_LEVEL = 0.05


Labels = npt.NDArray[np.bool_]
Groups = npt.NDArray[np.str_]


def base_p_value(scores: Floats, is_member: Labels, group: Groups, seed: int) -> float:
    """One-sided p of the AUROC of fixed scores against labels permuted over groups."""
    null = (auroc(scores, labels) for labels in permuted_labels(is_member, group, seed))
    return sequential_p_value(auroc(scores, is_member), null)


def sequential_p_value(value: float, null: Iterator[float]) -> float:
    """One-sided Monte-Carlo p, valid at every sample size (Besag & Clifford 1991).

    Stops after ENOUGH_AS_GOOD draws that reach `value`: p is their number over all draws; else
    (reached + 1) / (n + 1).
    """
    reached = drawn = 0
    for other in null:
        drawn += 1
        reached += other >= value
        if reached == ENOUGH_AS_GOOD:
            return reached / drawn
    return (reached + 1) / (drawn + 1)


def holm(p_values: Mapping[str, float], level: float = CONTROL_LEVEL) -> list[str]:
    """Names of the controls that are flagged at family-wise `level`, the smallest p first."""
    adjusted = holm_adjusted(p_values)
    return [name for name in sorted(p_values, key=p_values.__getitem__) if adjusted[name] <= level]


def permuted_labels(is_member: Labels, group: Groups, seed: int) -> Iterator[Labels]:
    """Labels moved between whole groups, since rows of a group share one."""
    names, where = np.unique(group, return_inverse=True)
    label = np.zeros(len(names), dtype=bool)
    label[where] = is_member
    generator = keyed_generator(seed, "permute")
    return (generator.permutation(label)[where] for _ in range(PERMUTATIONS))
