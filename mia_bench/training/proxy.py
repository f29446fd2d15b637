"""The attacker that some defences train beside the model (mitigations/proxy_attacker.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import TrainsProxy
from mia_bench.training.batches import EncodedRows, StepBatches
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator

NONMEMBER, MEMBER = 0, 1

ErrorsOf = Callable[[EncodedRows, Mapping[str, Tensor]], Tensor]
"""Squared errors (B, *latent) of the model on a batch of rows, without gradient."""


class Proxy:
    """An MLP on the squared errors of members and non-members, its optimizer, and its batches.

    Batches and dropout depend on (seed, step) alone, as those of the model do.
    """

    def __init__(
        self,
        defence: TrainsProxy,
        members: EncodedRows,
        nonmembers: EncodedRows | None,
        recipe: Recipe,
        timesteps: int,
    ) -> None:
        if nonmembers is None or not nonmembers.sample_id:
            raise MiaError("a proxy attacker needs rows that are no members, and there are none.")
        self.defence, self.seed = defence, recipe.seed
        self.rows = {MEMBER: members, NONMEMBER: nonmembers}
        self.batches = {
            label: StepBatches(
                rows, replace(recipe, seed=_seed(recipe.seed, label), p_uncond=0.0), timesteps
            )
            for label, rows in self.rows.items()
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(recipe.seed, "weights"))
            self.attacker = defence.attacker(members.z0[0].numel())
        self.optimizer = defence.attacker_optimizer(self.attacker)
        self.device = torch.device("cpu")
        self.generator = torch.Generator(self.device)

    def to(self, device: torch.device) -> None:
        self.attacker.to(device)
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict(state)  # whose tensors follow the parameters
        self.device, self.generator = device, torch.Generator(device)

    def learn(self, errors_of: ErrorsOf, step: int) -> float:
        """The attacker's steps before one of the model; its accuracy on rows it had not fitted to
        these errors yet."""
        correct = []
        for turn in range(self.defence.attacker_steps):
            place = step * self.defence.attacker_steps + turn
            errors, labels = [], []
            for label, batches in self.batches.items():
                batch = {k: v.to(self.device) for k, v in batches.step(place).items()}
                with torch.no_grad():
                    errors.append(errors_of(self.rows[label], batch))
                labels.append(torch.full((len(errors[-1]),), label, device=self.device))
            self._reseed("attacker", place)
            logits = self.logits(torch.cat(errors))
            truth = torch.cat(labels)
            self.optimizer.zero_grad()
            F.cross_entropy(logits, truth).backward()
            self.optimizer.step()
            correct.append((logits.argmax(1) == truth).float().mean().item())
        return sum(correct) / len(correct)

    def objective(self, loss: Tensor, errors: Tensor, step: int) -> Tensor:
        """What the model minimises: its loss, and what the attacker loses on these members."""
        self._reseed("defence", step)
        truth = torch.full((len(errors),), MEMBER, device=errors.device)
        # gradients reach the model through the errors, and not the attacker
        self.attacker.requires_grad_(False)
        adversarial = F.cross_entropy(self.logits(errors), truth)
        self.attacker.requires_grad_(True)
        return self.defence.objective(loss, adversarial)

    def logits(self, errors: Tensor) -> Tensor:
        """(B, 2) from squared errors (B, *latent), in float32, with dropout."""
        *hidden, last = self.attacker
        with torch.autocast(errors.device.type, enabled=False):
            x = errors.float().flatten(1)
            for layer in hidden:
                x = self._dropped(F.relu(layer(x)))
            logits: Tensor = last(x)
        return logits

    def _dropped(self, x: Tensor) -> Tensor:
        keep = 1 - self.defence.dropout
        drawn = torch.rand(x.shape, generator=self.generator, device=x.device)
        return x * (drawn < keep) / keep

    def _reseed(self, what: str, place: int) -> None:
        draw = keyed_generator(self.seed, "proxy", what, place)
        self.generator.manual_seed(int(draw.integers(2**63)))

    def state_dict(self) -> dict[str, Any]:
        return {"attacker": self.attacker.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.attacker.load_state_dict(state["attacker"])
        self.optimizer.load_state_dict(state["optimizer"])


def _seed(seed: int, what: int | str) -> int:
    return int(keyed_generator(seed, "proxy", what).integers(2**31))
