"""Connected components of rows, made from links as they come."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Edges = tuple[Rows, Rows]  # first[k] and second[k] are linked


def link(labels: Rows, rows: Rows, columns: Rows) -> Rows:
    """`labels` (N,) after merging the components that the edges rows[k]-columns[k] join."""
    if not len(rows):
        return labels
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    size = len(labels)
    edges = (np.ones(len(rows), dtype=np.bool_), (labels[rows], labels[columns]))
    _, merged = connected_components(coo_matrix(edges, shape=(size, size)), directed=False)
    linked: Rows = merged.astype(np.intp)[labels]
    return linked


def most_common(labels: Rows) -> int:
    """The label that most of these rows have; the smallest of several."""
    values, counts = np.unique(labels, return_counts=True)
    return int(values[np.argmax(counts)])
