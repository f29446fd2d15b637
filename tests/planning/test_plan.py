"""Keys: everything that decides an artefact is in them, and nothing else."""

from __future__ import annotations

import pytest

from mia_bench.planning.describe import describe_plan
from mia_bench.planning.make_plan import make_plan
from mia_bench.planning.specs import BEST_STEP
from mia_bench.utils.errors import MiaError


@pytest.fixture(scope="module")
def plan_of(small, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("plans")
    return lambda *overrides: make_plan(small(*overrides, outputs=outputs))


def described(plan):
    return "\n".join(describe_plan(plan))


def keys(plan):
    (run,) = plan.runs
    return (
        plan.target.key,
        run.evaluation.folder.name,
        run.folder.name,
    )


@pytest.mark.parametrize(
    "override",
    [
        "trainer=cpu",
        "eval.batch_size=5",
        "model.chunk=3",
        "model.chunk=auto",
        "trainer.workers=2",
        "trainer.compile=default",
        "finetune.val_every=1",
        "finetune.checkpoint_every=7",
        "finetune.gradient_checkpointing=true",
        "eval.utility=true",
        "logger=wandb",
        "debug=true",
    ],
)
def test_how_something_is_computed_is_not_part_of_it(plan_of, override):
    assert keys(plan_of("attack=clid", override)) == keys(plan_of("attack=clid"))


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("finetune.lr=0.1", (True, False, True)),
        ("finetune.steps=5", (True, False, True)),
        ("finetune.seed=3", (True, False, True)),
        ("finetune.lora_rank=2", (True, False, True)),
        ("mitigation=augment", (True, False, True)),
        ("mitigation=[augment,ema]", (True, False, True)),
        ("calibration.shadow_mitigation=none", (False, False, True)),
        ("trainer.precision=bf16-mixed", (True, False, True)),
        ("eval.seed=3", (False, True, True)),
        ("eval.dtype=bfloat16", (False, True, True)),
        ("attack.clid.timesteps=[1,2]", (False, True, True)),
        ("attack.clid.reduction=none", (False, True, True)),
        ("attack.clid.alpha=0.3", (False, False, True)),
        ("attack.clid.decision=classifier", (False, False, True)),
        ("eval.resamples=300", (False, False, True)),
        ("calibration.folds=2", (False, False, True)),
        ("eval.blind_encoder=ViT-B-32/openai", (False, False, True)),
        ("data.split_seed=3", (True, True, True)),
    ],
)
def test_what_decides_an_artefact_is_in_its_key(plan_of, override, changed):
    first, second = keys(plan_of("attack=clid")), keys(plan_of("attack=clid", override))
    assert tuple(a != b for a, b in zip(first, second, strict=True)) == changed


def test_clid_and_clid_vec_read_the_same_features(plan_of):
    clid, vec = plan_of("attack=[clid,clid_vec]").runs
    assert clid.evaluation == vec.evaluation
    assert clid.folder != vec.folder


def test_one_pass_per_model_and_rows(plan_of):
    missing = plan_of("attack=[clid,clid_vec,loss,mc]").missing()
    kinds = [(spec.kind, len(asked)) for (spec, _), asked in missing.items()]
    assert sorted(kinds) == [("base", 3), ("shadow", 3), ("target", 3)]


def test_members_and_others_are_interleaved(plan_of):
    """Rows come in sample-id order: no batch of a pass is all members."""
    rows = plan_of("attack=loss").runs[0].evaluation.sample_id
    assert list(rows) == sorted(rows)


def test_what_controls_see_of_images_decides_their_folder(plan_of):
    plain, seen = plan_of("attack=loss"), plan_of("attack=loss", "eval.blind_encoder=a/b")
    assert plain.blind != seen.blind
    assert plan_of("attack=loss", "eval.blind_encoder=null").blind == plain.blind


def test_an_attacker_who_does_not_know_of_the_mitigation_has_the_plain_shadow(plan_of):
    plain, aware = plan_of("attack=loss"), plan_of("attack=loss", "mitigation=augment")
    unaware = plan_of("attack=loss", "mitigation=augment", "calibration.shadow_mitigation=none")
    assert unaware.target.key == aware.target.key != plain.target.key
    assert unaware.shadow.key == plain.shadow.key != aware.shadow.key
    assert unaware.runs[0].folder != aware.runs[0].folder


def test_the_order_of_mitigations_does_not_matter(plan_of):
    one, two = (plan_of(f"mitigation=[{m}]") for m in ("ema,augment", "augment,ema"))
    assert one.target.key == two.target.key


def test_epochs_are_counted_by_the_members_of_each_model(plan_of):
    plan = plan_of(
        "finetune.steps=null", "finetune.epochs=10", "data.sizes.shadow_member=20", "attack=loss"
    )
    assert (plan.target.step, plan.shadow.step) == (15, 25)  # 10 x 12 / 8, 10 x 20 / 8


def test_the_step_of_early_stopping_is_open_until_it_is_trained(plan_of):
    stopping = ("mitigation=early_stop", "mitigation.early_stop.every=1", "attack=loss")
    plan = plan_of(*stopping)
    assert plan.target.step == plan.shadow.step == BEST_STEP
    assert plan.settled() is not plan
    assert plan_of(*stopping, "checkpoint=2", "finetune.save_at=[2]").target.step == 2
    assert "at most 4 steps" in described(plan)


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


def test_an_ensemble_is_what_it_combines_and_what_it_is_compared_with(plan_of):
    names = ("[clid,mc]", "[clid,clid_vec,mc]", "[clid_vec,clid,mc]")
    plans = [plan_of(f"attack={name}", "eval.ensemble=true") for name in names]
    assert len({plan.ensemble.name for plan in plans}) == 3
    assert len({plan.ensemble.parent for plan in plans}) == 1
