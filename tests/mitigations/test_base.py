"""Composition: order of names, recipe hooks, identity, and the checks that see everything."""

from __future__ import annotations

import json

import pytest

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import TrainingSetup, apply_mitigations
from mia_bench.mitigations.captions import SeveralCaptions
from mia_bench.mitigations.dp import DpSgd
from mia_bench.mitigations.early_stop import EarlyStop
from mia_bench.mitigations.settings import Budget, CaptionDropout, Lora, Timesteps
from mia_bench.utils.errors import MiaError

RECIPE = Recipe(steps=100, batch_size=4, lr=1e-3, seed=0)


def treated(**mitigations) -> TrainingSetup:
    nodes = {name: {"_target_": type(m).__name__, **vars(m)} for name, m in mitigations.items()}
    return apply_mitigations(mitigations, nodes, RECIPE, 40, 10, 1, "32-true")


def test_settings_compose_whatever_their_order():
    one = treated(caption_dropout=CaptionDropout(p=0.2), lora=Lora(rank=2), budget=Budget(epochs=3))
    two = treated(budget=Budget(epochs=3), lora=Lora(rank=2), caption_dropout=CaptionDropout(p=0.2))
    assert one.recipe == two.recipe
    assert list(one.mitigations) == list(two.mitigations)
    assert (one.recipe.total, one.recipe.lora_rank, one.recipe.p_uncond) == (30, 2, 0.2)


def test_checks_see_the_recipe_after_every_hook():
    treated(early_stop=EarlyStop(every=20))
    with pytest.raises(MiaError, match="never reached in 10 steps"):
        treated(budget=Budget(steps=10), early_stop=EarlyStop(every=20))


def test_adapters_of_another_mitigation_are_kept_under_dp():
    assert treated(dp=DpSgd(noise=1.0), lora=Lora(rank=2)).recipe.lora_rank == 2
    assert treated(dp=DpSgd(noise=1.0)).recipe.lora_rank is None
    assert treated(dp=DpSgd(noise=1.0, lora_rank=3)).recipe.lora_rank == 3
    assert treated(dp=DpSgd(noise=1.0)).recipe.max_grad_norm == 0


def test_a_file_counts_by_its_content_not_its_place(tmp_path):
    keys = []
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"x": [text]}))
        keys.append(treated(several=SeveralCaptions(file=str(path))).identity())
    assert keys[0] == keys[1] != keys[2]


def test_options_added_later_count_when_they_are_changed():
    before = {"_target_": "Timesteps", "sampling": "u_shaped", "shift": 3.0}
    for steepness, expected in ((4.0, before), (6.0, {**before, "steepness": 6.0})):
        one = Timesteps(steepness=steepness)
        node = {**before, "steepness": steepness, "band": [0.1, 0.5], "density": 0.1}
        setup = apply_mitigations({"x": one}, {"x": node}, RECIPE, 40, 10, 1, "32-true")
        assert setup.identity() == {"x": expected}
