"""How much losses are enlarged for their gradients; what it is good for is tested with attacks."""

from __future__ import annotations

import pytest
import torch

from mia_bench.attacks.components.loss_scale import loss_scale


@pytest.mark.parametrize(
    ("dtype", "scale"), [(torch.float16, 64.0), (torch.bfloat16, 1.0), (torch.float32, 1.0)]
)
def test_float16_alone_needs_it(fresh_target, dtype, scale):
    target = fresh_target()
    target.compute_in(dtype)
    assert loss_scale(target, torch.zeros(5, 4, 4, 4)) == scale
