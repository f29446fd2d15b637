"""The plan in words: what is spent, and what contradicts itself before anything is trained."""

from __future__ import annotations

import pytest

from mia_bench.planning.describe import describe_plan, run_names
from mia_bench.utils.errors import MiaError


def described(plan):
    return "\n".join(describe_plan(plan))


@pytest.mark.first_look(2)
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("mitigation=early_stop", "data.sizes.validation=0"), "validation role is empty"),
        (("mitigation=early_stop",), "never reached in 4 steps"),
        (("mitigation=dp", "mitigation.dp.poisson=false"), "assumes Poisson sampling"),
        (("mitigation=dp", "finetune.accumulate=2"), "clip several gradients"),
        (("mitigation=dp", "mitigation.dp.epsilon=1e-7"), "cannot be met by any noise"),
        (("mitigation=augment", "finetune.cache_latents=true"), "augmentation would do nothing"),
        (
            ("mitigation=budget", "mitigation.budget.epochs=2", "checkpoint=4"),
            r"Saved steps: \[3\]",
        ),
        (
            ("finetune.steps=null", "finetune.epochs=2", "finetune.save_at=[4]"),
            "lies outside 1 to finetune.steps=3",
        ),
    ],
)
def test_contradictions_are_refused_before_anything_is_trained(plan_of, overrides, message):
    with pytest.raises(MiaError, match=message):
        described(plan_of("attack=loss", *overrides))


def test_the_plan_says_what_is_spent(plan_of):
    said = described(plan_of("attack=loss", "mitigation=dp", "mitigation.dp.epsilon=70"))
    assert "epsilon 70 at delta 1e-05 for one pair in 4 steps" in said


@pytest.mark.long
def test_options_of_attacks_that_are_not_selected_are_named(plan_of):
    lines = described(plan_of("attack=loss", "+attack.mc.timesteps=[1]")).splitlines()
    assert lines[0] == "options of mc are not used: not among the attacks selected"


@pytest.mark.long
def test_every_model_pass_and_result_has_its_line(plan_of):
    lines = described(plan_of("attack=[clid,loss]", "eval.utility=true")).splitlines()
    heads = [line.partition(":")[0].split()[0] for line in lines if not line.startswith("  ")]
    assert heads[-7:] == ["target", "shadow", "extract", "extract", "extract", "utility", "runs"]
    assert "extract target: 36 images, clid, loss; at most 576 U-Net evaluations" in lines
    assert lines[-2:] == ["utility 0 of 2 done", "runs    0 of 2 done"]


def test_what_generates_says_what_it_costs_before_it_runs(plan_of):
    lines = described(plan_of("attack=[img2img,loss]")).splitlines()
    (remark,) = (line for line in lines if line.startswith("img2img: "))
    assert "30 U-Net evaluations; compared by latents of the bundled tiny autoencoder" in remark
    assert not [line for line in lines if line.startswith("loss: ")]


@pytest.mark.long
def test_an_attack_with_derived_rows_is_named_once(plan_of):
    words = ("attack=[loss,clid,gsa]", "eval.base_calibrated=true", "eval.complexity=true")
    sizes = ("data.sizes.shadow_nonmember=24", "data.sizes.target_nonmember=24")
    plan = plan_of(*words, *sizes)
    derived = "(each also as -complexity, -base)"
    assert f"36 images, loss, clid, gsa {derived}; at most" in described(plan)
    without = [run for run in plan.runs if run.name not in ("loss-base", "loss-complexity")]
    assert run_names(without) == f"loss and clid, gsa {derived}"
    assert run_names(plan.runs[:2]) == "loss (also as -complexity)"


def test_the_complexity_of_images_is_no_query(plan_of):
    """Rows that nothing but their complexity is measured of have no line of an attack's."""
    sizes = ("data.sizes.shadow_nonmember=24", "data.sizes.target_nonmember=24")
    lines = described(plan_of("attack=loss", "eval.complexity=true", *sizes)).splitlines()
    assert [line for line in lines if "at most 0 U-Net" in line] == []
    assert "measure how complex 36 images are; no U-Net evaluations" in lines
    assert sum(line.startswith("extract base: ") for line in lines) == 1


MACHINE = ("mitigation=[caption_machine]", "mitigation.caption_machine.captioner=colours")
UNAWARE = "calibration.shadow_mitigation=none"


@pytest.mark.first_look(2)
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), "models are trained on the data's own"),
        (MACHINE, "models are trained on those of caption_machine"),
        (
            (*MACHINE, UNAWARE),
            "the target is trained on those of caption_machine, the shadow is trained on the "
            "data's own",
        ),
        (
            ("mitigation=caption_shuffle",),
            "models are trained on the data's own, changed by caption_shuffle",
        ),
        (
            ("model.finetune=false", "calibration=split", "data.random_labels=true"),
            "no model is trained",
        ),
    ],
)
def test_beside_other_captions_of_the_attacks_the_plan_says_what_models_are_trained_on(
    plan_of, overrides, said
):
    lines = described(plan_of("attack=loss", "data.captions=null", *overrides)).splitlines()
    assert f"the attacks' captions: null; {said}" in lines
