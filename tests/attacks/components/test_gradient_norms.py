"""Norms from one backward pass against autograd on each group of rows alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mia_bench.attacks.components import gradient_norms
from mia_bench.attacks.components.gradient_norms import recorded, separable

# sums over positions in another order; roots of Gram products lose half their digits
CLOSE = {"rtol": 1e-3, "atol": 1e-5}


class Small(nn.Module):
    """Every kind of layer; few channels with many positions first, the reverse at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.down = nn.Conv2d(4, 32, 3, stride=2, padding=1, bias=False)
        self.small = nn.Conv2d(32, 32, 3, padding=1)
        self.deep = nn.Conv2d(32, 48, 1)
        self.scale = nn.LayerNorm(48)
        self.head = nn.Linear(48, 3)
        self.idle = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.deep(self.small(self.down(self.norm(self.first(x)).sin()).tanh()))
        return self.head(self.scale(h.flatten(2).mT)).mean(1)


def loss_of(net: nn.Module, x: Tensor) -> Tensor:
    return net(x).square().sum(1)


@pytest.fixture
def net() -> Small:
    torch.manual_seed(0)
    return Small().requires_grad_(False)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_autograd_on_each_group(net: Small, size: int, layout: torch.memory_format) -> None:
    x = torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(1)).to(memory_format=layout)
    parameters = list(net.parameters())
    with recorded(net, size) as norms:
        loss_of(net, x).sum().backward()
    found = norms.table(parameters, 6 // size)
    net.requires_grad_(True)
    for row, group in zip(found, x.split(size), strict=True):
        slopes = torch.autograd.grad(loss_of(net, group).sum(), parameters, allow_unused=True)
        expected = [0.0 if g is None else g.norm().item() for g in slopes]
        torch.testing.assert_close(row, torch.tensor(expected), **CLOSE)
    assert found[:, -1].eq(0).all()  # `idle` is never asked


@pytest.mark.parametrize("kernel", [(3, 3), (1, 3), (3, 1), (5, 2)])
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(("channels", "few"), [(2, False), (160, True)])
def test_kernels_of_any_shape_by_either_way(
    kernel: tuple[int, int], size: int, channels: int, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few channels on many positions: gradients; many on few: Gram matrices, of single rows."""
    torch.manual_seed(0)
    conv, taken = nn.Conv2d(channels, channels, kernel, padding=(2, 1)), []
    grams = gradient_norms._shifted_grams
    monkeypatch.setattr(
        gradient_norms, "_shifted_grams", lambda *args: taken.append(1) or grams(*args)
    )
    x = torch.randn(4, channels, 3, 4)
    with recorded(conv, size) as norms:
        conv(x).square().sum().backward()
    assert bool(taken) == (few and size == 1)
    for row, group in enumerate(x.split(size)):
        slope, _ = torch.autograd.grad(conv(group).square().sum(), (conv.weight, conv.bias))
        torch.testing.assert_close(norms.by_parameter[conv.weight][row], slope.norm(), **CLOSE)


def test_nothing_stays_behind(net: Small) -> None:
    with recorded(net):
        pass
    assert not any(module._forward_hooks for module in net.modules())
    out = net(torch.zeros(1, 2, 6, 6))
    assert not out.requires_grad


def test_a_layer_that_runs_twice_is_refused(net: Small) -> None:
    x = torch.zeros(1, 2, 6, 6)
    with recorded(net):
        net.first(x)
        with pytest.raises(ValueError, match="Conv2d runs twice"):
            net.first(x)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(2, 2), nn.Parameter(torch.ones(1))


def test_what_can_be_taken_apart(net: Small) -> None:
    assert separable(net)
    assert not separable(Scaled())
    assert not separable(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)))
    assert not separable(nn.Sequential(nn.Conv2d(4, 4, 3, dilation=2)))
    assert not separable(nn.Sequential(nn.Embedding(3, 2)))
    assert not separable(nn.SiLU())
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert not separable(tied)
