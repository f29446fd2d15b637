"""Links between pictures whose thumbnails are nearly equal, without comparing all of them.

A projection moves no two rows further apart. So thumbnails are laid out along their first principal
directions, in cells as wide as the largest distance that links, and a block of rows from one
neighbourhood is compared with the later rows near it alone. Rows that are in one component already
are not compared: of thousands of blank pages nearly every pair is near, and would be found in vain.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mia_bench.data.split.components import Edges, Rows, link, most_common

Thumbnails = npt.NDArray[np.float32]

DIRECTIONS = 8
CELL_DIRECTIONS = 3  # of them, by which rows are ordered
SAMPLE_ROWS = 4_096  # from which directions are taken: any give the same links
ROUNDING = 1.0  # grey levels; far above the error of a float32 projection
ROWS_PER_BLOCK = 512
COLUMNS_PER_STEP = 1 << 13  # 16 MiB of distances at once


def links(small: Thumbnails, max_rmse: float) -> Iterator[Edges]:
    """Edges whose components are those of all rows of `small` (N, D) at RMSE <= max_rmse."""
    reach = max_rmse * small.shape[1] ** 0.5
    place = _projected(small)
    order = _by_cell(place, reach)
    small, place = small[order], place[order]
    squared = np.square(small).sum(axis=1)
    labels = np.arange(len(small), dtype=np.intp)
    for start in range(0, len(small), ROWS_PER_BLOCK):
        block = np.arange(start, min(start + ROWS_PER_BLOCK, len(small)))
        later = start + np.flatnonzero(_in_reach(place[start:], place[block], reach))
        main = most_common(labels[block])
        of_main = labels[block] == main
        for rows, columns in (
            (block[of_main], later[labels[later] != main]),
            (block[~of_main], later),
        ):
            for left, right in _near(small, squared, rows, columns, reach):
                labels = link(labels, left, right)
                yield order[left], order[right]


def _near(
    small: Thumbnails, squared: Thumbnails, rows: Rows, columns: Rows, reach: float
) -> Iterator[Edges]:
    """Pairs of `rows` and `columns` at a distance of at most `reach`, in parts."""
    for start in range(0, len(columns) if len(rows) else 0, COLUMNS_PER_STEP):
        part = columns[start : start + COLUMNS_PER_STEP]
        distance = squared[rows, None] + squared[part] - 2 * small[rows] @ small[part].T
        i, j = np.nonzero(distance <= reach**2)
        apart = rows[i] != part[j]
        if apart.any():
            yield rows[i[apart]], part[j[apart]]


def _projected(small: Thumbnails) -> Thumbnails:
    """(N, at most DIRECTIONS) along the directions in which a sample of rows differs most."""
    sample = small[:: -(-len(small) // SAMPLE_ROWS)].astype(np.float64)
    centred = sample - sample.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    projected: Thumbnails = small @ directions[:, ::-1][:, :DIRECTIONS].astype(np.float32)
    return projected


def _by_cell(place: Thumbnails, reach: float) -> Rows:
    """Rows in an order in which those of one cell follow each other."""
    cells = np.floor(place[:, :CELL_DIRECTIONS] / max(reach, ROUNDING))
    order: Rows = np.lexsort(cells.T[::-1])
    return order


def _in_reach(place: Thumbnails, block: Thumbnails, reach: float) -> npt.NDArray[np.bool_]:
    """Which rows may be within `reach` of a row of the block, going by its bounding box."""
    low, high = block.min(axis=0) - reach - ROUNDING, block.max(axis=0) + reach + ROUNDING
    inside: npt.NDArray[np.bool_] = (place[:, 0] >= low[0]) & (place[:, 0] <= high[0])
    for direction in range(1, place.shape[1]):
        along = place[:, direction]
        inside &= (along >= low[direction]) & (along <= high[direction])
    return inside
