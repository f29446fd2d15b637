"""The Frechet distance between two sets of feature vectors."""

from __future__ import annotations

import numpy as np

from mia_bench.metrics.roc import Floats


def frechet(x: Floats, y: Floats) -> float:
    """Squared Fréchet distance of two Gaussians fitted to rows of x and y (Heusel et al. 2017).

    |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x^1/2 S_y S_x^1/2)^1/2), covariances by Ledoit-Wolf, because
    there are few rows per dimension. Biased upwards: compare equal numbers of rows only.
    """
    from sklearn.covariance import ledoit_wolf

    (cov_x, _), (cov_y, _) = ledoit_wolf(x), ledoit_wolf(y)
    values, vectors = np.linalg.eigh(cov_x)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    middle = np.linalg.eigvalsh(root @ cov_y @ root)
    overlap = np.sqrt(np.clip(middle, 0, None)).sum()
    shift = np.square(x.mean(0) - y.mean(0)).sum()
    return float(shift + np.trace(cov_x) + np.trace(cov_y) - 2 * overlap)
