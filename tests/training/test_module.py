"""The training objective, on whatever the model predicts, and dropped captions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoded import RECIPE, rows, treated

from mia_bench.models.memorizer import scaled_linear
from mia_bench.target import Target
from mia_bench.training.batches import StepBatches
from mia_bench.training.module import FinetuneModule


def test_dropped_captions_are_the_null_condition(fresh_target):
    target = fresh_target()
    data = rows(target, 4, "member")
    module = FinetuneModule(target, data, data, treated(RECIPE))
    drop = torch.tensor([True, False, True, False])
    hidden, _ = module.objective.text(data.cond, torch.arange(4), drop)
    null = target.embed([""]).hidden[0]
    assert torch.equal(hidden[0], null)
    assert torch.equal(hidden[1], data.cond.hidden[1])
    share = torch.cat(
        [StepBatches(data, replace(RECIPE, p_uncond=0.3), 1000).step(s)["drop"] for s in range(400)]
    )
    assert share.float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_a_short_schedule_is_validated_on_timesteps_of_its_own(fresh_target):
    parts = fresh_target()
    target = Target(
        *(parts.unet, parts.latents, parts.text, parts.latent_shape, scaled_linear(200))
    )
    data = rows(target, 4, "member")
    module = FinetuneModule(target, data, data, treated(RECIPE))
    for batch in module.val_dataloader()[0]:
        module.validation_step(batch, 0)
    assert module.val_loss["member"].compute().isfinite()
