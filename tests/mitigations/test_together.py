"""Combinations of which one mitigation would be lost, and settings that fit together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import TrainingSetup
from mia_bench.mitigations.augment import Augment
from mia_bench.mitigations.caption_influence import CaptionInfluence
from mia_bench.mitigations.captions import DeleteWords, ShuffleCaptions
from mia_bench.mitigations.dp import DpSgd
from mia_bench.mitigations.machine_captions import MachineCaptions
from mia_bench.mitigations.proxy_attacker import ProxyAttacker
from mia_bench.mitigations.random_rows import RandomRows
from mia_bench.mitigations.settings import Budget, CaptionDropout, Lora, Timesteps
from mia_bench.mitigations.together import apply_mitigations
from mia_bench.utils.errors import MiaError

RECIPE = Recipe(steps=100, batch_size=4, lr=1e-3, seed=0)


@dataclass(frozen=True)
class Halved:
    """A mitigation from outside the package that changes what it finds."""

    def recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, lr=recipe.lr / 2)


def treated(recipe: Recipe = RECIPE, **mitigations) -> TrainingSetup:
    return apply_mitigations(mitigations, {}, recipe, 40, 10, 1, "32-true")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            {"dp": DpSgd(noise=1.0, lora_rank=4), "lora": Lora(rank=16)},
            r"dp sets finetune\.lora_rank=4 and lora sets it to 16, .*: leave one of them out, or "
            r"leave it to the other with mitigation\.dp\.lora_rank=null\.",
        ),
        (
            {"lora": Lora(rank=16), "smp_lora": ProxyAttacker(lora_rank=4)},
            r"finetune\.lora_rank=16 .* with mitigation\.smp_lora\.lora_rank=null",
        ),
        (
            {"lora": Lora(lr=1e-2), "smp_lora": ProxyAttacker(lr=1e-4)},
            r"finetune\.lr=0\.01 .*mitigation\.lora\.lr=null, or .*mitigation\.smp_lora\.lr=null",
        ),
        (
            {"timesteps": Timesteps(), "timesteps_sparse": Timesteps(sampling="sparse_band")},
            r"finetune\.timesteps=u_shaped and timesteps_sparse .*: leave one of them out\.",
        ),
        (
            {"budget": Budget(steps=50), "shorter": Budget(steps=20)},
            r"finetune\.steps=50 and shorter sets it to 20, .*: leave one of them out\.",
        ),
    ],
)
def test_a_setting_that_another_overwrites_is_refused(pair, message):
    with pytest.raises(MiaError, match=message):
        treated(**pair)


def test_a_setting_is_lost_too_where_it_is_the_recipe_s_own():
    with pytest.raises(MiaError, match=r"finetune\.lora_rank=4 and lora sets it to 16"):
        treated(replace(RECIPE, lora_rank=16), dp=DpSgd(noise=1.0, lora_rank=4), lora=Lora())


def test_settings_that_agree_or_build_on_each_other_compose():
    assert treated(dp=DpSgd(noise=1.0), lora=Lora(rank=16)).recipe.lora_rank == 16
    assert treated(dp=DpSgd(noise=1.0, lora_rank=4), lora=Lora(rank=4)).recipe.lora_rank == 4
    assert treated(lora=Lora(rank=16), smp_lora=ProxyAttacker(lr=1e-4)).recipe.lr == 1e-4
    assert treated(a=Halved(), b=Halved()).recipe.lr == RECIPE.lr / 4


@pytest.mark.parametrize("other", [CaptionInfluence(), RandomRows(), ProxyAttacker()])
def test_what_couples_the_rows_of_a_step_is_refused_beside_dp(other):
    with pytest.raises(MiaError, match="accountant assumes"):
        treated(dp=DpSgd(noise=1.0), other=other)


def test_what_there_can_be_one_of_is_refused_twice():
    with pytest.raises(MiaError, match=r"mp_lora\+smp_lora.*proxy attacker.*use one of them"):
        treated(mp_lora=ProxyAttacker(form="mp"), smp_lora=ProxyAttacker())
    with pytest.raises(MiaError, match=r"dp\+more.*adds noise in its own way: use one of them"):
        treated(dp=DpSgd(noise=1.0), more=DpSgd(noise=2.0))


def test_stored_views_beside_fresh_ones_would_never_be_drawn():
    flip, colour = Augment(flip=0.5, bank=3), Augment(colour=0.4)
    with pytest.raises(MiaError, match=r"colour encodes fresh .*mitigation\.flip\.bank=null"):
        treated(colour=colour, flip=flip)
    treated(colour=Augment(colour=0.4, bank=2), flip=flip)
    treated(colour=colour, flip=Augment(flip=0.5))


def test_machine_captions_would_replace_those_that_another_has_rewritten():
    machine = MachineCaptions(captioner="colours")
    with pytest.raises(MiaError, match=r"of caption_delete, which comes first by name.*leave one"):
        treated(caption_delete=DeleteWords(), caption_machine=machine)
    treated(caption_machine=machine, caption_shuffle=ShuffleCaptions())


@pytest.mark.parametrize("about", [CaptionInfluence(), DeleteWords(), ShuffleCaptions()])
def test_captions_that_every_step_leaves_out_cannot_be_worked_on(about):
    with pytest.raises(MiaError, match=r"mitigation=worded is about .*a probability below 1"):
        treated(replace(RECIPE, p_uncond=1.0), worded=about)
    with pytest.raises(MiaError, match=r"mitigation=worded is about .*caption_dropout\.p"):
        treated(caption_dropout=CaptionDropout(p=1.0), worded=about)
    treated(caption_dropout=CaptionDropout(p=0.5), worded=about)
    treated(caption_dropout=CaptionDropout(p=1.0))


@pytest.mark.parametrize("adapting", [Lora(), DpSgd(noise=1.0, lora_rank=4)])
def test_random_weights_are_not_left_under_adapters(adapting):
    scratch = replace(RECIPE, from_scratch=True)
    with pytest.raises(MiaError, match=r"from_scratch=true .*every weight with lora_rank=null"):
        treated(scratch, one=adapting)
    with pytest.raises(MiaError, match="adapters of rank 2"):
        treated(replace(scratch, lora_rank=2))
    treated(scratch, dp=DpSgd(noise=1.0))
