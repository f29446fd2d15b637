"""Pictures of eval.own_outputs in the plan: which rows, whose keys, and that nothing else moves."""

from __future__ import annotations

import pytest

from mia_bench.data.split.roles import Role
from mia_bench.planning.describe import describe_plan
from mia_bench.utils.errors import MiaError

ASKED = ("attack=loss", "eval.own_outputs=true", "eval.own_outputs_images=5")


def test_the_first_non_members_are_drawn_and_no_more_than_there_are(plan_of):
    own = plan_of(*ASKED).own_outputs
    assert own.source_id == plan_of(*ASKED).rows(Role.TARGET_NONMEMBER)[:5]
    every = plan_of("attack=loss", "eval.own_outputs=true").own_outputs
    assert len(every.source_id) == 24
    assert own.evaluations == 100


@pytest.mark.long
def test_pictures_have_ids_of_their_own_by_model(plan_of):
    own = plan_of(*ASKED).own_outputs
    other = plan_of(*ASKED, "finetune.steps=3").own_outputs
    assert len({*own.sample_id, *other.sample_id, *own.source_id}) == 15
    assert own.folder.name == other.folder.name  # the same rows, under another model
    assert own.folder != other.folder
    assert plan_of(*ASKED, "eval.seed=4").own_outputs.folder.name != own.folder.name


def test_rows_of_the_pictures_are_items_with_the_captions(plan_of):
    plan = plan_of(*ASKED)
    items = plan.items_of(plan.own_outputs.sample_id)
    assert [item.caption for item in items] == list(plan.own_outputs.caption)
    assert items[0].sample_id.startswith("own:")


def test_captions_that_a_mitigation_reads_need_no_own_outputs(plan_of):
    assert plan_of(*ASKED, "mitigation=caption_shuffle").own_outputs is not None


def test_attacks_that_subtract_the_base_and_others_than_grey_box_are_left_out(plan_of):
    plan = plan_of(
        "attack=[loss,gsa,img2img]", "eval.own_outputs=true", "eval.base_calibrated=true"
    )
    assert [run.name for run in plan.runs if run.own_outputs] == ["loss"]
    assert "loss-base" in [run.name for run in plan.runs]


@pytest.mark.long
def test_without_it_the_plan_says_nothing_of_it(plan_of):
    plan = plan_of("attack=loss")
    assert plan.own_outputs is None
    assert not [line for line in describe_plan(plan) if line.startswith("generate")]


def test_none_is_no_number_of_pictures(plan_of):
    with pytest.raises(MiaError, match="own_outputs_images=0: at least 1"):
        plan_of("attack=loss", "eval.own_outputs_images=0")
