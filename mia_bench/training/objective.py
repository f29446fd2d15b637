"""The training objective of a model: from rows of clean latents and captions to squared errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mia_bench.config.recipe import Recipe
from mia_bench.target import Condition
from mia_bench.target.engine.noise_predictor import NetworkCall
from mia_bench.target.schedule import NoiseLevels
from mia_bench.training.prediction import Noised, squared_errors

TextRows = tuple[Tensor, Mapping[str, Tensor]]
"""Hidden states (B, tokens, width), and what else the network takes of captions, one row each."""


@dataclass(frozen=True)
class Objective:
    """What the network is asked and what its answer should be.

    Args:
        call: how the network is called; schedule: on the device of the batches.
        prediction_type: what the network predicts.
        null: the condition of the empty caption, one row.
        recipe: names the loss and the shift of timesteps.
    """

    call: NetworkCall
    schedule: NoiseLevels
    prediction_type: str
    null: Condition
    recipe: Recipe

    def noised(self, z0: Tensor, index: Tensor, eps: Tensor) -> tuple[Noised, Tensor]:
        """Latents (B, *latent) with noise, and the times (B,) of places `index` to train at."""
        t = self.schedule.training_time(index, self.recipe.timestep_shift)
        return Noised.at(self.schedule, z0, t, eps), t

    def output(self, network: nn.Module, noised: Noised, t: Tensor, text: TextRows) -> Tensor:
        """(B, *latent) what the network predicts, whatever that is."""
        time = self.schedule.network_time(t)
        return self.call(network, noised.z_t, time, *text).float()

    def errors(self, output: Tensor, noised: Noised) -> Tensor:
        """Squared errors (B, *latent), see `squared_errors`."""
        return squared_errors(output, noised, self.prediction_type, self.recipe.loss)

    def losses(
        self, network: nn.Module, z0: Tensor, t: Tensor, eps: Tensor, text: TextRows
    ) -> Tensor:
        """(B,) mean squared error over latent elements at the times t (B,)."""
        noised = Noised.at(self.schedule, z0, t, eps)
        return self.errors(self.output(network, noised, t, text), noised).flatten(1).mean(1)

    def text(self, cond: Condition, row: Tensor, drop: Tensor) -> TextRows:
        """Captions of the rows (B,) of `cond`, the empty one where `drop` (B,); on its device."""
        index, null = row.cpu(), self.null
        hidden = dropped(cond.hidden[index], null.hidden, drop)
        extra = {name: dropped(v[index], null.extra[name], drop) for name, v in cond.extra.items()}
        return hidden, extra


def dropped(text: Tensor, null: Tensor, drop: Tensor) -> Tensor:
    """(B, ...) of captions, with that of the empty caption where a caption is dropped."""
    where = drop.view(-1, *[1] * (text.ndim - 1))
    return torch.where(where, null.to(drop.device), text.to(drop.device))
