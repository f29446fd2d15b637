"""Filtered weights exist while they are saved, and training never sees them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mia_bench.mitigations.spectral import Shrink
from mia_bench.training.update_filter import UpdateFilter


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Conv2d(2, 3, 2))


def test_matrices_are_filtered_inside_the_context_alone():
    trained = network()
    update_filter = UpdateFilter.of(trained, [Shrink(factor=0.5), Shrink(factor=0.5)])
    base = {name: p.detach().clone() for name, p in trained.named_parameters()}
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter += 1.0
    after = {name: p.detach().clone() for name, p in trained.named_parameters()}
    with update_filter.applied(trained):
        for name, parameter in trained.named_parameters():
            expected = base[name] + (0.25 if parameter.ndim > 1 else 1.0)
            assert torch.allclose(parameter, expected)
    assert all(torch.equal(p, after[name]) for name, p in trained.named_parameters())
    assert update_filter.kept_share == pytest.approx(1 / 16)


def test_nothing_learned_has_no_share():
    trained = network()
    update_filter = UpdateFilter.of(trained, [Shrink(factor=0.5)])
    with update_filter.applied(trained):
        pass
    assert update_filter.kept_share is None


def test_weights_come_back_when_saving_fails():
    trained = network()
    update_filter = UpdateFilter.of(trained, [Shrink(factor=0.5)])
    with torch.no_grad():
        trained[0].weight += 1.0
    after = trained[0].weight.detach().clone()
    with pytest.raises(OSError, match="full"), update_filter.applied(trained):
        raise OSError("the disk is full")
    assert torch.equal(trained[0].weight, after)
