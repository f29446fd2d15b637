"""Components of linked rows, against rows merged one edge at a time."""

from __future__ import annotations

import numpy as np

from mia_bench.data.split.components import link, most_common


def literal(count: int, edges: list[tuple[int, int]]) -> list[set[int]]:
    """Sets of rows that are linked, in whatever number of steps."""
    groups = [{row} for row in range(count)]
    for a, b in edges:
        one, other = (next(g for g in groups if row in g) for row in (a, b))
        if one is not other:
            groups.remove(other)
            one |= other
    return sorted(groups, key=min)


def grouped(labels: np.ndarray) -> list[set[int]]:
    return sorted(
        ({int(row) for row in np.flatnonzero(labels == label)} for label in set(labels.tolist())),
        key=min,
    )


def test_links_that_come_in_two_parts_are_the_links_together() -> None:
    draw = np.random.default_rng(0)
    edges = draw.integers(0, 60, (40, 2))
    labels = np.arange(60)
    for part in np.split(edges, [15]):
        labels = link(labels, part[:, 0], part[:, 1])
    assert grouped(labels) == literal(60, [(int(a), int(b)) for a, b in edges])
    assert 1 < len(grouped(labels)) < 60


def test_without_links_every_row_is_alone() -> None:
    none = np.array([], dtype=np.intp)
    assert link(np.arange(4), none, none).tolist() == [0, 1, 2, 3]


def test_the_most_common_label_is_the_smallest_of_several() -> None:
    assert most_common(np.array([3, 1, 3, 2, 2])) == 2
    assert most_common(np.array([7])) == 7
