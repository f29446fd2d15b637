"""Training steps that are compared: a clock's median, and both loops on a narrow network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mia_bench.bench.gpu import finetuning, networks
from mia_bench.bench.gpu.speed import SpeedSetting

CPU = torch.device("cpu")


def test_the_first_steps_are_left_out():
    clock = finetuning.StepClock(CPU)
    clock.moments = [0.0, 50.0, 51.0, 53.0, 54.0]
    assert clock.seconds(2) == 1.0


@pytest.mark.first_look
@pytest.mark.parametrize("model", ["sd15", "sd3"])  # every weight; adapters
def test_both_loops_take_their_steps(model):
    spec = networks.SPECS[model]["small"]
    figures = finetuning.finetuning(spec, SpeedSetting(CPU, "small", 1, Path("unused")))
    ratio = figures["plain.seconds"] / figures["ours.seconds"]
    assert figures["plain_over_ours"] == pytest.approx(ratio)
    assert figures["batch"] == spec.batch_rows
    assert figures["rank"] == spec.recipe.get("lora_rank", 0)
