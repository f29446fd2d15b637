"""Norms of many samples' weight gradients from one backward pass.

A layer's weight gradient is a sum over the batch of products of what enters it and the gradient of
what leaves it. Kept apart by sample (Goodfellow 2015, arXiv 1510.01799), these products give every
sample's norm at the price of one batched backward, and no gradient outlives its layer.
    linear:         G = sum_l g_l u_l^T                        l over positions of the group
    conv:           G_k = sum_l g_l u_{l+k}^T                  for every offset k of its kernel
    ||G||^2 is taken from G, or from the Gram matrices, sum_{l,m} (g_l . g_m) (u_l . u_m), whichever
    needs fewer operations: deep layers have many channels and few positions.
    normalisation:  sum of g times the normalised input, and sum of g
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYERS = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)


@dataclass
class Norms:
    """Gradient norms by parameter, of groups of `size` consecutive batch rows each."""

    size: int
    by_parameter: dict[nn.Parameter, Tensor] = field(default_factory=dict)

    def table(self, parameters: list[nn.Parameter], groups: int) -> Tensor:
        """(groups, parameters) norms; zeros where the loss did not reach."""
        zero = torch.zeros(groups, device=parameters[0].device)
        return torch.stack([self.by_parameter.get(p, zero) for p in parameters], dim=1)


def separable(module: nn.Module) -> bool:
    """Every parameter belongs to one layer whose gradient can be kept apart by sample."""
    owned: set[nn.Parameter] = set()
    for layer in module.modules():
        mine = set(layer.parameters(recurse=False))
        plain = type(layer) in LAYERS and not (isinstance(layer, nn.Conv2d) and _odd(layer))
        if mine and (not plain or mine & owned):
            return False
        owned |= mine
    return bool(owned)


def _odd(layer: nn.Conv2d) -> bool:
    return (
        layer.groups != 1
        or layer.dilation != (1, 1)
        or layer.padding_mode != "zeros"
        or isinstance(layer.padding, str)
    )


@contextmanager
def recorded(module: nn.Module, size: int = 1) -> Iterator[Norms]:
    """Inside, one forward and backward of `module` fills the `Norms` that is yielded.

    Args:
        module: a `separable` one, each layer of which runs once; its parameters need no gradient.
        size: consecutive rows of the batch whose gradients are summed before the norm is taken.

    Raises:
        ValueError: a layer ran twice, so that its gradients would have to be added up first.
    """
    norms = Norms(size)
    layers = [layer for layer in module.modules() if type(layer) in LAYERS]
    hooks = [layer.register_forward_hook(partial(_entered, norms, set())) for layer in layers]
    try:
        yield norms
    finally:
        for hook in hooks:
            hook.remove()


def _entered(
    norms: Norms, seen: set[int], layer: Any, inputs: tuple[Tensor, ...], output: Tensor
) -> Tensor:
    """Wait for the gradient of the layer's output, with its input kept until then."""
    if id(layer) in seen:
        raise ValueError(f"a {type(layer).__name__} runs twice in one forward pass")
    seen.add(id(layer))
    if not output.requires_grad:  # nothing before it requires a gradient: it starts here
        output = output.detach().requires_grad_()
    output.register_hook(partial(_left, norms, layer, inputs[0].detach()))
    return output


def _left(norms: Norms, layer: Any, entered: Tensor, slope: Tensor) -> None:
    rows = len(slope) // norms.size
    with torch.no_grad():
        if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
            per_row = _normalisation(layer, entered, slope)
            both = [g.view(rows, norms.size, -1).sum(1).norm(dim=1) for g in per_row]
        elif isinstance(layer, nn.Conv2d) and layer.stride == (1, 1):
            both = [_kernel_norm(layer, entered, slope, rows), _bias_norm(slope, rows)]
        else:
            u, g = _positions(layer, entered, slope, rows)
            both = [_outer_norm(g, u), g.sum(1).norm(dim=1)]
    for parameter, norm in zip((layer.weight, layer.bias), both, strict=True):
        if parameter is not None:
            norms.by_parameter[parameter] = norm


def _normalisation(layer: Any, entered: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias gradients (batch, channels) of each row."""
    entered, slope = entered.float(), slope.float()
    if isinstance(layer, nn.LayerNorm):
        normal = F.layer_norm(entered, layer.normalized_shape, eps=layer.eps)
        return (slope * normal).flatten(1, -2).sum(1), slope.flatten(1, -2).sum(1)
    normal = F.group_norm(entered, layer.num_groups, eps=layer.eps)
    return (slope * normal).flatten(2).sum(2), slope.flatten(2).sum(2)


def _positions(layer: Any, entered: Tensor, slope: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """What enters (rows, positions, in) and the slopes (rows, positions, out) of each group."""
    if isinstance(layer, nn.Conv2d):
        entered = _patches(layer, entered)
        slope = slope.permute(0, 2, 3, 1).flatten(1, 2)
    u, g = entered.float(), slope.float()
    return u.reshape(rows, -1, u.shape[-1]), g.reshape(rows, -1, g.shape[-1])


def _patches(layer: nn.Conv2d, entered: Tensor) -> Tensor:
    """(B, positions, kernel pixels x channels); channels last, so that the copy is of long runs."""
    (down, across), (up, left) = layer.stride, (int(n) for n in layer.padding)
    padded = F.pad(entered, (left, left, up, up)).permute(0, 2, 3, 1)
    height, width = layer.kernel_size
    windows = padded.unfold(1, height, down).unfold(2, width, across)
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(1, 2)


def _kernel_norm(layer: nn.Conv2d, entered: Tensor, slope: Tensor, rows: int) -> Tensor:
    """(rows,) norms of the weight gradient of a convolution of stride 1, without unfolding it.

    Slopes are laid out over rows as wide as the padded input's, with zeros where they end. A shift
    by a kernel's offset is then one of the flat position, so that u_{l+k} is a view of u.
    """
    (high, wide), (up, left) = layer.kernel_size, (int(n) for n in layer.padding)
    below = up + (1 if wide > 1 else 0)  # the last shifts read a little beyond the last row
    u = F.pad(entered.float(), (left, left, up, below)).permute(0, 2, 3, 1).contiguous()
    width = u.shape[2]
    g = F.pad(slope.float(), (0, width - slope.shape[3])).permute(0, 2, 3, 1).contiguous()
    u, g = u.flatten(1, 2), g.flatten(1, 2)
    shifts = [down * width + across for down in range(high) for across in range(wide)]
    if rows == len(g) and _few_positions(u, g, len(shifts)):
        return _shifted_grams(u, g, shifts)
    groups, n = g.reshape(rows, -1, g.shape[2]), g.shape[1]
    square = torch.zeros(rows, device=u.device)
    for shift in shifts:
        there = u.narrow(1, shift, n).reshape(rows, -1, u.shape[2])
        square += (groups.mT @ there).flatten(1).square().sum(1)
    return square.sqrt()


def _few_positions(u: Tensor, g: Tensor, shifts: int) -> bool:
    """Gram matrices of positions cost less than the gradients; an element touched counts as 8."""
    (_, m, into), (_, n, out) = u.shape, g.shape
    return m * m * into + n * n * (out + 8 * shifts) < shifts * n * into * out


def _shifted_grams(u: Tensor, g: Tensor, shifts: list[int]) -> Tensor:
    """(rows,) norms: every shift reads another part of one Gram matrix of what enters."""
    n, slopes, inputs = g.shape[1], g @ g.mT, u @ u.mT
    square: Tensor = torch.zeros(len(g), device=u.device)
    for k in shifts:
        square += (slopes * inputs[:, k : k + n, k : k + n]).sum((1, 2))
    norm: Tensor = square.clamp_min(0).sqrt()
    return norm


def _bias_norm(slope: Tensor, rows: int) -> Tensor:
    """(rows,) norms of the bias gradient of a convolution."""
    norm: Tensor = slope.float().sum((2, 3)).view(rows, -1, slope.shape[1]).sum(1).norm(dim=1)
    return norm


def _outer_norm(g: Tensor, u: Tensor) -> Tensor:
    """(rows,) Frobenius norms of sum_l g_l u_l^T."""
    positions, out, into = g.shape[1], g.shape[2], u.shape[2]
    if positions * (out + into) < out * into:
        square: Tensor = ((g @ g.mT) * (u @ u.mT)).sum((1, 2))
        return square.clamp_min(0).sqrt()
    norm: Tensor = (g.mT @ u).flatten(1).norm(dim=1)
    return norm
