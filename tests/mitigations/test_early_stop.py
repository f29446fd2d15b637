"""Early stopping: the rule on a recorded curve is Lightning's, and what it needs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import TrainingContext
from mia_bench.mitigations.early_stop import MONITOR, EarlyStop, chosen_step
from mia_bench.utils.errors import MiaError

RECIPE = Recipe(steps=100, batch_size=4, lr=1e-3, seed=0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("min_delta", [0.0, 0.1])
def test_the_rule_on_a_curve_stops_where_lightning_does(seed, min_delta):
    losses = np.random.default_rng(seed).normal(0, 0.3, 40).cumsum().tolist()
    steps = list(range(20, 820, 20))
    (stopping,) = EarlyStop(patience=3, min_delta=min_delta).callbacks()
    end = steps[-1]
    for step, loss in zip(steps, losses, strict=True):
        trainer = SimpleNamespace(callback_metrics={MONITOR: torch.tensor(loss)})
        if stopping._evaluate_stopping_criteria(trainer.callback_metrics[MONITOR])[0]:
            end = step
            break
    best, ended = chosen_step(steps, losses, 3, min_delta)
    assert ended == end
    assert best == steps[int(np.argmin(losses[: steps.index(end) + 1]))]


def test_held_out_rows_and_a_validation_are_needed():
    with pytest.raises(MiaError, match="validation role is empty"):
        EarlyStop().check(TrainingContext(RECIPE, 10, 0, 1, "32-true"))
    with pytest.raises(MiaError, match="never reached in 100 steps"):
        EarlyStop(every=101).check(TrainingContext(RECIPE, 10, 5, 1, "32-true"))
    with pytest.raises(ValueError, match="must be positive"):
        EarlyStop(patience=0)
