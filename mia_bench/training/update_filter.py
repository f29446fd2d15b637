"""Weights are saved with a part of what training added to them (mitigations/spectral.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mia_bench.mitigations import FiltersUpdate


@dataclass
class UpdateFilter:
    """Filters the update of every matrix that is trained.

    Args:
        base: weights before training by name, on the CPU; none of adapters, which keep theirs.
    """

    filters: Sequence[FiltersUpdate]
    base: Mapping[str, Tensor]
    kept_share: float | None = field(default=None, init=False)
    """Squared norm of what was kept over that of the update, of the last weights filtered."""

    @classmethod
    def of(cls, network: nn.Module, filters: Sequence[FiltersUpdate]) -> UpdateFilter:
        """A filter for `network`, which has not been trained yet."""
        trained = {n: p for n, p in network.named_parameters() if p.requires_grad and p.ndim > 1}
        adapters = any("lora_" in name for name in trained)
        copies = {n: p.detach().to("cpu", copy=True) for n, p in trained.items()}
        return cls(filters, {} if adapters else copies)

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """`network` has the filtered weights inside this context, and its own again after it."""
        before: dict[nn.Parameter, Tensor] = {}
        norms = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for parameters, values, squares in self._filtered(network):
                norms += squares
                for parameter, value in zip(parameters, values, strict=True):
                    before[parameter] = parameter.detach().to("cpu", copy=True)
                    parameter.copy_(value)
        self.kept_share = float(norms[0] / norms[1]) if norms[1] > 0 else None
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in before.items():
                    parameter.copy_(value)

    def _filtered(
        self, network: nn.Module
    ) -> Iterator[tuple[Sequence[nn.Parameter], Sequence[Tensor], Tensor]]:
        """(parameters, their filtered values, squared norms of the kept and the whole update)."""
        if self.base:
            parameters = dict(network.named_parameters())
            for name, base in self.base.items():
                parameter = parameters[name]
                base = base.to(parameter.device)
                update = (parameter - base).flatten(1)
                kept = self._kept(base.flatten(1), update)
                yield [parameter], [base + kept.view_as(base)], _squares(kept, update)
            return
        for layer in network.modules():
            if hasattr(layer, "lora_A") and hasattr(layer, "base_layer"):
                yield self._adapter(layer)

    def _adapter(self, layer: nn.Module) -> tuple[list[nn.Parameter], list[Tensor], Tensor]:
        """Of matrices A (rank, inputs) and B (outputs, rank): the filtered product, factored."""
        from peft.tuners.lora import LoraLayer

        assert isinstance(layer, LoraLayer)
        (name,) = layer.lora_A.keys()
        down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
        update = layer.scaling[name] * up @ down
        kept = self._kept(layer.base_layer.weight.flatten(1), update)
        u, s, vt = torch.linalg.svd(kept.float(), full_matrices=False)
        rank = min(len(down), len(s))
        root = s[:rank].sqrt()
        new_up, new_down = torch.zeros_like(up), torch.zeros_like(down)
        new_up[:, :rank] = u[:, :rank] * root / layer.scaling[name]
        new_down[:rank] = root[:, None] * vt[:rank]
        return [up, down], [new_up, new_down], _squares(kept, update)

    def _kept(self, base: Tensor, update: Tensor) -> Tensor:
        for one in self.filters:
            update = one.filtered(base, update)
        return update


def _squares(kept: Tensor, update: Tensor) -> Tensor:
    return torch.stack([kept.double().square().sum(), update.double().square().sum()]).cpu()
