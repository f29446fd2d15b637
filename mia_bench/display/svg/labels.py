"""Where labels go so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions in the order of `wanted`, at least `gap` apart and as near to it as can be."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[tuple[float, list[int]]] = []  # (middle, members), which are `gap` apart
    for i in order:
        middle, members = wanted[i], [i]
        while groups and middle - groups[-1][0] < gap * (len(members) + len(groups[-1][1])) / 2:
            members = [*groups.pop()[1], *members]
            middle = sum(wanted[j] for j in members) / len(members)
        groups.append((middle, members))
    placed = [0.0] * len(wanted)
    for middle, members in groups:
        for n, i in enumerate(members):
            placed[i] = middle + gap * (n - (len(members) - 1) / 2)
    return placed


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes (left, top, width, height) share a point."""
    apart_x = a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0]
    return not (apart_x or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1])
