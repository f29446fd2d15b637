"""Hours and memory before training: measured with the run's own step, leaving nothing behind."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mia_bench.config.recipe import Recipe
from mia_bench.execution import cost_estimate
from mia_bench.execution.cost_estimate import (
    Pace,
    estimate_lines,
    hours,
    measure,
    plan_lines,
    training_seconds,
)
from mia_bench.execution.stages import train_models
from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.errors import MiaError, Missing

RECIPE = Recipe(steps=1000, batch_size=4, lr=1e-5, val_every=300, val_rows=16)

AUDIT = ("model.finetune=false", "data.random_labels=true", "calibration=split")


def test_training_is_steps_and_validations():
    pace = Pace(step=2.0, evaluation=0.5, memory=("GPU", 0))
    # validations at 300, 600 and 900; 16 members and 16 held-out rows at four timesteps each
    assert training_seconds(pace, RECIPE) == 1000 * 2.0 + 3 * 2 * 16 * 4 * 0.5


def test_hours_are_hours_from_one_hour_on():
    assert hours(2.4) == "2 seconds"
    assert hours(90) == "1.5 minutes"
    assert hours(2 * 3600 + 360) == "2.1 hours"


def test_small_networks_are_not_measured(small, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_estimate, "measure", None)
    plan = make_plan(small(outputs=tmp_path))
    assert list(estimate_lines(plan)) == []


@pytest.mark.long
def test_the_estimate_is_of_the_runs_own_work_and_changes_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_estimate, "SMALL_UNET_BYTES", 0)
    make = ("finetune.accumulate=2", "calibration=split", "attack=[loss,pia]")
    told = make_plan(small(*make, outputs=tmp_path / "told"))
    lines = "\n".join(estimate_lines(told))
    assert re.search(
        r"target +4 steps of .* s and their validations: about .* (seconds|minutes)", lines
    )
    assert re.search(r"peak memory \d+\.\d GB \(process\)", lines)
    assert "extract at most" in lines
    assert not list((tmp_path / "told").rglob("*.tmp"))
    assert not list((tmp_path / "told" / "targets").glob("*"))
    untold = make_plan(small(*make, outputs=tmp_path / "untold"))
    for plan in (told, untold):
        train_models(plan)
    name = "diffusion_pytorch_model.safetensors"
    one, two = (load_file(plan.target.weights / name) for plan in (told, untold))
    assert all(torch.equal(one[key], two[key]) for key in one)
    left = "\n".join(estimate_lines(told))
    assert left.startswith("measured")
    assert "extract at most" in left  # features are left to extract, training is not
    assert "steps of" not in left


@pytest.mark.long
def test_a_half_precision_model_is_measured_as_it_is_trained(small, tmp_path):
    """In float32, which is what it is loaded in."""
    plan = make_plan(small("+model.dtype=bfloat16", outputs=tmp_path))
    assert measure(plan, plan.target).step > 0


@pytest.mark.long
def test_an_audit_measures_questions_alone(small, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_estimate, "SMALL_UNET_BYTES", 0)
    monkeypatch.setattr(cost_estimate, "time_step", None)
    plan = make_plan(small(*AUDIT, outputs=tmp_path))
    assert [line.split()[0] for line in estimate_lines(plan)] == ["measured", "extract"]


@pytest.mark.long
def test_a_step_that_does_not_fit_says_what_to_lower(small, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")

    monkeypatch.setattr(cost_estimate, "time_step", full)
    plan = make_plan(small(outputs=tmp_path))
    with pytest.raises(MiaError, match=r"does not fit on .*finetune\.accumulate"):
        measure(plan, plan.target)


def test_a_plan_without_weights_is_a_plan(small, tmp_path, monkeypatch):
    """`plan_only=true` says what is missing and what would run, and asks no network."""
    from mia_bench.models.hub import fetching

    monkeypatch.setattr(fetching, "download", None)
    run = small(
        "model=sd15",
        "model.path=nobody/nothing",
        "plan_only=true",
        "finetune.epochs=null",
        outputs=tmp_path,
    )
    text = "\n".join(plan_lines(run))
    assert re.search(r"target +unknown +12 members, 4 steps of 8 to train", text)
    assert "the weights of nobody/nothing are not here" in text
    assert "model=tiny works" in text
    with pytest.raises(Missing, match="not here"):
        make_plan(replace(run, options=replace(run.options, plan_only=False)))
