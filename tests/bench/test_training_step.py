"""Fine-tuning steps that are compared leave the workload's U-Net as it was."""

from __future__ import annotations

import pytest
import torch

from mia_bench.bench import training_step
from mia_bench.bench.workloads import Workload


@pytest.mark.parametrize("name", ["bare_steps", "script_steps"])
def test_steps_train_a_copy(name, random_target, random_batch, monkeypatch):
    workload = Workload(random_target(), random_batch(2))
    unet = workload.target.unet
    before = [p.detach().clone() for p in unet.parameters()]
    rates, optimizer_step = [], torch.optim.AdamW.step

    def counted_step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return optimizer_step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted_step)
    getattr(training_step, name)(workload, 2)()
    assert rates == [training_step.LEARNING_RATE] * 2
    for old, new in zip(before, unet.parameters(), strict=True):
        assert torch.equal(old, new)
