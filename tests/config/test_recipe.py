"""The recipe: counted in steps or epochs, its identity, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mia_bench.config.recipe import Recipe, check_checkpoint, check_recipe
from mia_bench.utils.errors import MiaError

RECIPE = Recipe(steps=300, batch_size=32, lr=5e-4, warmup=20, seed=0)


def test_epochs_become_steps_of_the_global_batch():
    recipe = replace(RECIPE, steps=None, epochs=20)
    assert recipe.resolved(180).total == 113  # 20 * 180 / 32 = 112.5
    assert replace(recipe, epochs=0.01).resolved(3).total == 1
    with pytest.raises(MiaError, match="resolve it"):
        _ = recipe.total
    with pytest.raises(MiaError, match=r"epochs=1e\+308 are more steps than can be counted"):
        replace(recipe, epochs=1e308).resolved(180)


def test_the_identity_is_the_same_however_the_length_is_said():
    by_epochs = replace(RECIPE, steps=None, epochs=20).resolved(180)
    assert by_epochs.identity() == replace(RECIPE, steps=113).identity()


def test_the_identity_of_the_first_release_is_unchanged():
    """Models trained before an option existed keep their keys."""
    assert RECIPE.identity() == {
        "steps": 300,
        "batch_size": 32,
        "lr": 5e-4,
        "warmup": 20,
        "weight_decay": 1e-2,
        "max_grad_norm": 1.0,
        "p_uncond": 0.0,
        "ema_decay": None,
        "accumulate": 1,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({"lora_rank": 4}, True),
        ({"optimizer": "adamw_8bit"}, True),
        ({"save_at": [100]}, True),
        ({"lora_targets": ["to_q"]}, False),  # without a rank there is no LoRA
        ({"gradient_checkpointing": True}, False),
        ({"val_rows": 3}, False),
    ],
)
def test_an_option_counts_when_it_decides_the_weights(change, matters):
    assert (replace(RECIPE, **change).identity() != RECIPE.identity()) == matters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 2.0}, "both are given"),
        ({"steps": None}, "neither is given"),
        ({"steps": None, "epochs": 0.0}, r"finetune\.epochs=0\.0 must be positive"),
        ({"lora_rank": 0}, "must be positive"),
        ({"ema_decay": 1.0}, "between 0 and 1"),
        ({"optimizer": "adam"}, "Known: adamw, adamw_fused, adamw_8bit"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(MiaError, match=message):
        check_recipe(replace(RECIPE, **change), "32-true")


def test_fused_steps_cannot_clip_half_precision():
    fused = replace(RECIPE, optimizer="adamw_fused")
    for mixed in ("16-mixed", "bf16-mixed"):
        with pytest.raises(MiaError, match="cannot be clipped"):
            check_recipe(fused, mixed)
    check_recipe(fused, "32-true")
    check_recipe(replace(fused, max_grad_norm=0.0), "16-mixed")


def test_an_optimizer_that_is_not_installed_names_its_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MiaError, match="pip install bitsandbytes"):
        check_recipe(replace(RECIPE, optimizer="adamw_8bit"), "32-true")


def test_a_checkpoint_that_is_not_saved_names_those_that_are():
    recipe = replace(RECIPE, save_at=[100, 200])
    check_checkpoint(100, recipe)
    with pytest.raises(MiaError, match=r"Saved steps: \[100, 200, 300\]"):
        check_checkpoint(150, recipe)
