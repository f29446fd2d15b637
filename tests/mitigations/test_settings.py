"""Mitigations that set the recipe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations.settings import Budget, CaptionDropout, Ema, Lora, Timesteps, WeightDecay
from mia_bench.utils.errors import MiaError

RECIPE = Recipe(steps=100, batch_size=4, lr=1e-3, ema_decay=0.5, seed=0)


@pytest.mark.parametrize(
    ("mitigation", "change"),
    [
        (Budget(steps=7), {"steps": 7}),
        (Budget(epochs=2.0), {"steps": None, "epochs": 2.0}),
        (Lora(rank=4), {"lora_rank": 4}),
        (
            Lora(rank=4, lr=0.1, targets=("to_q",)),
            {"lora_rank": 4, "lr": 0.1, "lora_targets": ["to_q"]},
        ),
        (Ema(decay=None), {"ema_decay": None}),
        (WeightDecay(rate=0.3), {"weight_decay": 0.3}),
        (CaptionDropout(p=0.2), {"p_uncond": 0.2}),
    ],
)
def test_each_changes_its_setting_alone(mitigation, change):
    assert mitigation.recipe(RECIPE) == replace(RECIPE, **change)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Budget(),
        lambda: Budget(steps=3, epochs=1.0),
        lambda: Budget(steps=-1),
        lambda: Lora(rank=0),
        lambda: Lora(lr=-1.0),
        lambda: Ema(decay=1.0),
        lambda: WeightDecay(rate=-1.0),
        lambda: CaptionDropout(p=0.0),
    ],
)
def test_senseless_values_are_refused(wrong):
    with pytest.raises(ValueError, match=r"needed|positive|between|above|or more"):
        wrong()


def test_densities_of_noise_levels_reach_the_recipe():
    sparse = Timesteps(sampling="sparse_band", band=(0.2, 0.4), density=0.0).recipe(RECIPE)
    assert (sparse.timesteps, sparse.timestep_band) == ("sparse_band", [0.2, 0.4])
    assert sparse.timestep_band_density == 0.0
    assert Timesteps(steepness=6.0).recipe(RECIPE).timestep_steepness == 6.0


@pytest.mark.parametrize(
    "wrong", [{"band": (0.5, 0.1)}, {"band": (0.0, 1.0)}, {"density": 2.0}, {"steepness": 0.0}]
)
def test_a_density_that_is_none_is_refused(wrong):
    sampling = "u_shaped" if "steepness" in wrong else "sparse_band"
    with pytest.raises(MiaError, match="timestep_"):
        Timesteps(sampling=sampling, **wrong).recipe(RECIPE)


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ({"shift": 7.0}, "use sampling=shifted, or leave shift at 3.0"),
        ({"sampling": "shifted", "steepness": 5.0}, "use sampling=u_shaped, or leave steepness"),
        ({"band": (0.2, 0.4)}, "use sampling=sparse_band, or leave band"),
        ({"sampling": "uniform", "density": 0.5}, "use sampling=sparse_band, or leave density"),
    ],
)
def test_an_option_of_another_density_would_do_nothing(given, way_out):
    with pytest.raises(ValueError, match=way_out):
        Timesteps(**given)
