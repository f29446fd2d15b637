"""The Frechet distance against the formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from mia_bench.metrics.frechet import frechet


def test_the_distance_is_the_frechet_distance_of_shrunk_gaussians():
    from sklearn.covariance import ledoit_wolf

    random = np.random.default_rng(0)
    x, y = random.normal(0, 1, (80, 5)), random.normal(0.5, 2, (60, 5)) @ random.normal(size=(5, 5))
    (a, _), (b, _) = ledoit_wolf(x), ledoit_wolf(y)
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum()
    assert frechet(x, y) == pytest.approx(shift + np.trace(a + b - 2 * sqrtm(a @ b).real), rel=1e-8)
    assert frechet(x, x) == pytest.approx(0, abs=1e-8)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-8)
    far = [frechet(x, random.normal(shift, 1, (80, 5))) for shift in (0.0, 0.5, 2.0)]
    assert far == sorted(far)
