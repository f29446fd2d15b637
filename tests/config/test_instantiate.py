"""A `_target_` node becomes an object; options that its constructor does not take are refused."""

from __future__ import annotations

import pytest

from mia_bench.config.instantiate import build
from mia_bench.utils.errors import MiaError


def test_lists_become_tuples_so_that_attacks_stay_hashable(experiment):
    attack = experiment("attack=mc").attacks["mc"]
    assert attack.timesteps == (440, 450, 460)
    assert isinstance(hash(attack), int)


def test_unknown_option_of_an_attack_names_the_nearest(experiment):
    with pytest.raises(
        MiaError, match=r"attack\.clid has no option 'alpah'\. Did you mean 'alpha'"
    ):
        experiment("attack=clid", "+attack.clid.alpah=0.3")


def test_a_word_that_a_type_makes_a_number_of_is_finite_too():
    node = {"_target_": "mia_bench.mitigations.settings.WeightDecay", "rate": "nan"}
    with pytest.raises(MiaError, match=r"mitigation\.x\.rate=nan: a finite number"):
        build(node, "mitigation.x")


def test_build_names_what_is_missing_or_wrong():
    with pytest.raises(MiaError, match=r"data\.source has no _target_"):
        build({"keywords": 3}, "data.source")
    with pytest.raises(MiaError, match=r"cannot be imported: .*PYTHONPATH=<that folder>"):
        build({"_target_": "mia_bench.data.nowhere.Nothing"}, "data.source")
    target = "mia_bench.models.stable_diffusion.StableDiffusion"
    with pytest.raises(MiaError, match=r"model\.resolution is needed"):
        build({"_target_": target, "path": "x"}, "model")
