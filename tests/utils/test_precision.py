"""Switches of float32 products: set inside, put back afterwards, whatever happens."""

from __future__ import annotations

import pytest
import torch

from mia_bench.utils.precision import _switches, exactly, products


def values() -> list[object]:
    return [getattr(owner, name) for owner, name, _ in _switches("ieee")]


def wanted(precision: str) -> list[object]:
    return [value for _, _, value in _switches(precision)]


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_switches_are_set_inside_and_put_back(precision):
    before = values()
    with products(precision):
        assert values() == wanted(precision)
    assert values() == before


def test_switches_are_put_back_after_an_error():
    before = values()
    with pytest.raises(RuntimeError, match="inside"), products("tf32"):
        raise RuntimeError("inside")
    assert values() == before


def test_exactly_overrules_tf32_and_autocast():
    one = torch.ones(2, 2)
    with products("tf32"), torch.autocast("cpu", dtype=torch.bfloat16):
        assert (one @ one).dtype is torch.bfloat16
        with exactly(one.device):
            assert (one @ one).dtype is torch.float32
            assert values() == wanted("ieee")
        assert values() == wanted("tf32")
