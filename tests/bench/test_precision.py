"""AUROC in lower precision: rank correlation, and what the command takes."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.bench import precision
from mia_bench.utils.errors import MiaError


def test_rank_correlation_sees_order_alone():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert precision.rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert precision.rank_correlation(a, -a) == pytest.approx(-1)


def test_a_dtype_that_does_not_exist_names_the_nearest():
    with pytest.raises(MiaError, match="Did you mean 'bfloat16'"):
        precision.measure(["bfloat61", "attack=loss"])
