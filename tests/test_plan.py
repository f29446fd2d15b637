"""Keys: everything that decides an artefact is in them, and nothing else."""

from __future__ import annotations

import pytest

from mia_bench.workshop import make_plan


@pytest.fixture(scope="module")
def plan_of(small, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("plans")
    return lambda *overrides: make_plan(small(*overrides, outputs=outputs))


def keys(plan):
    (cell,) = plan.cells
    return (
        plan.target.key,
        cell.evaluation.folder.name,
        cell.folder.name,
    )


@pytest.mark.parametrize(
    "override",
    [
        "trainer=cpu",
        "eval.batch_size=5",
        "model.chunk=3",
        "finetune.val_every=1",
        "finetune.checkpoint_every=7",
        "finetune.gradient_checkpointing=true",
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
        ("trainer.precision=bf16-mixed", (True, False, True)),
        ("eval.seed=3", (False, True, True)),
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
    clid, vec = plan_of("attack=[clid,clid_vec]").cells
    assert clid.evaluation == vec.evaluation
    assert clid.folder != vec.folder


def test_one_pass_per_model_and_rows(plan_of):
    missing = plan_of("attack=[clid,clid_vec,loss,mc]").missing()
    kinds = [(subject.kind, len(asked)) for (subject, _), asked in missing.items()]
    assert sorted(kinds) == [("base", 3), ("shadow", 3), ("target", 3)]


def test_members_and_others_are_interleaved(plan_of):
    """Rows come in sample-id order: no batch of a pass is all members."""
    rows = plan_of("attack=loss").cells[0].evaluation.sample_id
    assert list(rows) == sorted(rows)


def test_what_controls_see_of_images_decides_their_folder(plan_of):
    plain, seen = plan_of("attack=loss"), plan_of("attack=loss", "eval.blind_encoder=a/b")
    assert plain.blind != seen.blind
    assert plan_of("attack=loss", "eval.blind_encoder=null").blind == plain.blind
