"""The order in which pieces of a line are drawn where its scripts run in both directions.

The Unicode Bidirectional Algorithm (Unicode Standard Annex #9) for one line of plain text: the
direction of the paragraph (P2, P3), weak and neutral types (W2 to W7, N1, N2), levels (I1, I2) and
reordering (L2). Explicit embeddings, overrides and isolates are no part of it, because captions may
not hold any; paired brackets (N0) count as other neutrals.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import groupby

NUMBERS = ("EN", "AN")


def direction_class(character: str) -> str:
    """The bidirectional class of a character; neutral where Unicode has none."""
    return unicodedata.bidirectional(character) or "ON"


def base_level(classes: Sequence[str]) -> int:
    """0 for a line that begins, by its first letter, from the left, and 1 from the right."""
    strong = next((c for c in classes if c in ("L", "R", "AL")), "L")
    return 0 if strong == "L" else 1


def levels(classes: Sequence[str], base: int) -> list[int]:
    """The embedding level of every piece: even ones run from left to right, odd ones from right."""
    kinds = _resolve_neutrals(_resolve_weak(classes, base), base)
    if base == 0:
        return [{"L": 0, "R": 1}.get(kind, 2) for kind in kinds]
    return [1 if kind == "R" else 2 for kind in kinds]


def visual_order(levels: Sequence[int]) -> list[int]:
    """Positions in the order in which they stand from left to right (L2)."""
    order = list(range(len(levels)))
    for level in range(max(levels, default=0), 0, -1):
        reordered: list[int] = []
        for inside, run in groupby(order, key=lambda i: levels[i] >= level):
            positions = list(run)
            reordered += reversed(positions) if inside else positions
        order = reordered
    return order


def _resolve_weak(classes: Sequence[str], base: int) -> list[str]:
    """L, R, EN, AN and ON alone are left."""
    start = "R" if base else "L"
    kinds = list(classes)
    strong = start
    for i, kind in enumerate(kinds):  # W2, W3
        if kind in ("L", "R", "AL"):
            strong = kind
        elif kind == "EN" and strong == "AL":
            kinds[i] = "AN"
    kinds = ["R" if kind == "AL" else kind for kind in kinds]
    for i in range(1, len(kinds) - 1):  # W4: 1,000 and 3-4 are numbers as a whole
        before, after = kinds[i - 1], kinds[i + 1]
        if before == after and (
            (kinds[i] == "CS" and before in NUMBERS) or (kinds[i] == "ES" and before == "EN")
        ):
            kinds[i] = before
    for i in (*range(1, len(kinds)), *range(len(kinds) - 2, -1, -1)):  # W5: $5, 5 %
        near = [kinds[j] for j in (i - 1, i + 1) if 0 <= j < len(kinds)]
        if kinds[i] == "ET" and "EN" in near:
            kinds[i] = "EN"
    strong = start
    for i, kind in enumerate(kinds):  # W6, W7
        if kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":
            kinds[i] = "L"
        elif kind not in NUMBERS:
            kinds[i] = "ON"
    return kinds


def _resolve_neutrals(kinds: Sequence[str], base: int) -> list[str]:
    """A neutral between two of one direction has that direction, and the line's elsewhere."""
    start = "R" if base else "L"
    resolved = list(kinds)
    runs = [(kind, list(run)) for kind, run in groupby(range(len(kinds)), key=lambda i: kinds[i])]
    for n, (kind, positions) in enumerate(runs):
        if kind != "ON":
            continue
        before = runs[n - 1][0] if n else start
        after = runs[n + 1][0] if n + 1 < len(runs) else start
        sides = {"R" if side in NUMBERS else side for side in (before, after)}
        for i in positions:
            resolved[i] = sides.copy().pop() if len(sides) == 1 else start
    return resolved
