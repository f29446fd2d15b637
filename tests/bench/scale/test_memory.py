"""Growth of time with the number of rows, and peaks of single passes."""

from __future__ import annotations

import pytest

from mia_bench.bench.scale import memory


def test_growth_is_the_slope_of_logarithms():
    assert memory.growth_exponent((10, 100, 1000), [2.0, 20.0, 200.0]) == pytest.approx(1.0)
    assert memory.growth_exponent((10, 100, 1000), [1.0, 100.0, 10000.0]) == pytest.approx(2.0)


def test_a_pass_over_synthetic_images_extracts_each_once(tmp_path):
    passes = [memory.predict_pass(3, "loss", tmp_path) for _ in range(2)]
    assert [(each["rows"], each["extracted"]) for each in passes] == [(3, 3), (3, 0)]
    assert passes[0]["seconds"] > 0
    assert passes[0]["peak"] > 1e8


def test_the_peak_of_a_batch_is_that_of_the_process():
    """In bytes: more than torch alone takes, for the U-Net and for an attack."""
    unet, attack = memory.peak_of_batch(None), memory.peak_of_batch("loss")
    assert 1e8 < unet <= attack  # a peak never falls
