"""Fine-tuning: what a step sees, resuming, accumulating, averaging, and failing clearly."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mia_bench.batches import Rows, StepBatches
from mia_bench.config import TrainerOptions
from mia_bench.diffusion import add_noise
from mia_bench.errors import MiaError
from mia_bench.finetune import FinetuneModule, finetune
from mia_bench.mitigations import Situation, Treatment
from mia_bench.recipe import Recipe
from mia_bench.target import Target

CPU = TrainerOptions(accelerator="cpu")
RECIPE = Recipe(
    steps=6, batch_size=4, lr=1e-2, val_every=3, val_rows=3, checkpoint_every=2, seed=0, warmup=2
)


def rows(target: Target, n: int, prefix: str) -> Rows:
    generator = torch.Generator().manual_seed(len(prefix))
    z0 = torch.randn(n, *target.latent_shape, generator=generator)
    captions = [f"{prefix} picture number {i}" for i in range(n)]
    return Rows(tuple(f"{prefix}:{i}" for i in range(n)), z0, target.embed(captions))


def treated(recipe: Recipe, mitigations=None, members: int = 7, heldout: int = 5) -> Treatment:
    """A recipe under mitigations, without their recipe hooks."""
    return Treatment(Situation(recipe, members, heldout, 1, "32-true"), mitigations or {})


def train(make, folder: Path, recipe: Recipe = RECIPE, prediction_type: str = "epsilon", fail=None):
    target = make(prediction_type)
    folder.mkdir(parents=True, exist_ok=True)
    members, heldout = rows(target, 7, "member"), rows(target, 5, "heldout")
    if fail is not None:
        fail(members)
    about = finetune(target, members, heldout, treated(recipe), CPU, folder)
    return load_file(
        folder / "steps" / str(recipe.steps) / "diffusion_pytorch_model.safetensors"
    ), about


def same(a, b, exact=True) -> bool:
    close = torch.equal if exact else lambda x, y: torch.allclose(x, y, atol=1e-6)
    return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)


def test_a_step_is_a_pure_function_of_seed_and_step(fresh_target):
    data = rows(fresh_target(), 7, "member")
    one, two = (StepBatches(data, RECIPE, 1000, start=start) for start in (0, 4))
    for name, value in one.step(5).items():
        assert torch.equal(value, two.step(5)[name])
    assert not torch.equal(one.step(5)["eps"], one.step(4)["eps"])
    other = StepBatches(data, replace(RECIPE, seed=1), 1000)
    assert not torch.equal(other.step(5)["eps"], one.step(5)["eps"])


def test_every_row_is_seen_once_an_epoch(fresh_target):
    batches = StepBatches(rows(fresh_target(), 7, "member"), replace(RECIPE, batch_size=3), 1000)
    seen = torch.cat([batches.step(s)["row"] for s in range(7)])
    for epoch in seen.split(7):
        assert sorted(epoch.tolist()) == list(range(7))


def test_micro_batches_and_ranks_cut_one_global_step(fresh_target):
    data = rows(fresh_target(), 7, "member")
    recipe = replace(RECIPE, batch_size=8, accumulate=2, steps=1)
    whole = StepBatches(data, recipe, 1000).step(0)["t"]
    parts = [b["t"] for rank in range(2) for b in StepBatches(data, recipe, 1000, rank, 2)]
    assert [len(p) for p in parts] == [2, 2, 2, 2]
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())


def test_a_batch_that_cannot_be_cut_is_refused(fresh_target):
    with pytest.raises(MiaError, match="global batch"):
        StepBatches(rows(fresh_target(), 7, "member"), replace(RECIPE, batch_size=3), 1000, 0, 2)


def test_the_loss_is_the_literal_objective(fresh_target):
    for prediction_type in ("epsilon", "v_prediction"):
        target = fresh_target(prediction_type)
        data = rows(target, 4, "member")
        module = FinetuneModule(target, data, data, treated(RECIPE))
        batch = StepBatches(data, RECIPE, 1000).step(0)
        expected = []
        for row, t, eps in zip(batch["row"], batch["t"], batch["eps"], strict=True):
            a, b, z0 = target.a[t], target.b[t], data.z0[row]
            z_t = add_noise(z0, eps, a, b)[None]
            with torch.no_grad():
                out = target.unet(z_t, t[None], data.cond.hidden[row][None], return_dict=False)[0][
                    0
                ]
            wanted = eps if prediction_type == "epsilon" else a * eps - b * z0
            expected.append(((out - wanted) ** 2).mean())
        z0 = data.z0[batch["row"]]
        hidden = data.cond.hidden[batch["row"]]
        found = module._loss(module.unet, z0, batch["t"], batch["eps"], hidden, {})
        assert torch.allclose(found, torch.stack(expected), rtol=1e-4)


def test_training_lowers_the_loss_and_leaves_its_record(fresh_target, tmp_path):
    recipe = replace(RECIPE, steps=60, val_every=20)
    _, about = train(fresh_target, tmp_path, recipe)
    history = list(csv.DictReader((tmp_path / "train.csv").read_text().splitlines()))
    assert [float(r["step"]) for r in history] == [20, 40, 60]
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])
    assert set(history[0]) == {"step", "epoch", "train_loss", "val_member", "val_heldout"}
    assert about["epochs"] == pytest.approx(60 * 4 / 7, abs=0.01)
    assert not (tmp_path / "last.ckpt").exists()


class KilledError(Exception):
    pass


def test_a_killed_fine_tune_resumes_to_identical_weights(fresh_target, tmp_path, monkeypatch):
    expected, _ = train(fresh_target, tmp_path / "whole")
    step = FinetuneModule.training_step

    def killed(self, batch, batch_idx):
        if self.global_step == 5:
            raise KilledError
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, "training_step", killed)
        with pytest.raises(KilledError):
            train(fresh_target, tmp_path / "killed")
    assert (tmp_path / "killed" / "last.ckpt").exists()
    steps = []

    def counted(self, batch, batch_idx):
        steps.append(self.global_step)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FinetuneModule, "training_step", counted)
    resumed, _ = train(fresh_target, tmp_path / "killed")
    assert steps == [4, 5]
    assert same(resumed, expected)
    whole, killed_history = ((tmp_path / n / "train.csv").read_text() for n in ("whole", "killed"))
    assert [line.split(",")[0] for line in whole.splitlines()] == [
        line.split(",")[0] for line in killed_history.splitlines()
    ]


def test_accumulation_gives_the_same_weights(fresh_target, tmp_path):
    one, _ = train(fresh_target, tmp_path / "1")
    two, _ = train(fresh_target, tmp_path / "2", replace(RECIPE, accumulate=2))
    # Sums of gradients are rounded differently; AdamW's first steps amplify that.
    worst = max((one[k] - two[k]).abs().max().item() for k in one)
    assert worst < 1e-3


def test_scheduled_steps_are_saved_and_equal_shorter_runs(fresh_target, tmp_path):
    train(fresh_target, tmp_path / "long", replace(RECIPE, save_at=[3]))
    short, _ = train(fresh_target, tmp_path / "short", replace(RECIPE, steps=3))
    path = tmp_path / "long" / "steps" / "3" / "diffusion_pytorch_model.safetensors"
    assert same(load_file(path), short)


def test_an_average_is_saved_when_asked_for(fresh_target, tmp_path):
    raw, _ = train(fresh_target, tmp_path / "raw")
    averaged, _ = train(fresh_target, tmp_path / "ema", replace(RECIPE, ema_decay=0.9))
    assert not same(raw, averaged)


def test_dropped_captions_are_the_null_condition(fresh_target):
    target = fresh_target()
    data = rows(target, 4, "member")
    module = FinetuneModule(target, data, data, treated(RECIPE))
    drop = torch.tensor([True, False, True, False])
    hidden, _ = module._text(data.cond, torch.arange(4), drop)
    null = target.embed([""]).hidden[0]
    assert torch.equal(hidden[0], null)
    assert torch.equal(hidden[1], data.cond.hidden[1])
    share = torch.cat(
        [StepBatches(data, replace(RECIPE, p_uncond=0.3), 1000).step(s)["drop"] for s in range(400)]
    )
    assert share.float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_a_loss_that_is_not_finite_names_step_and_rows(fresh_target, tmp_path):
    def poison(members: Rows) -> None:
        members.z0[2] = float("nan")

    with pytest.raises(MiaError, match=r"became nan at step \d+ .*member:2"):
        train(fresh_target, tmp_path, fail=poison)


def test_a_fused_optimizer_and_recomputed_activations_change_no_more_than_rounding(
    fresh_target, tmp_path
):
    plain, _ = train(fresh_target, tmp_path / "plain")
    for name, change in (
        ("fused", {"optimizer": "adamw_fused"}),
        ("recomputed", {"gradient_checkpointing": True}),
    ):
        found, _ = train(fresh_target, tmp_path / name, replace(RECIPE, **change))
        worst = max((plain[k] - found[k]).abs().max().item() for k in plain)
        assert worst < 1e-3
