"""The number of torch's threads is set for a block and restored after it."""

from __future__ import annotations

import pytest
import torch

from mia_bench.utils.threads import threads


def test_threads_are_as_many_as_before_after_an_error_too() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
