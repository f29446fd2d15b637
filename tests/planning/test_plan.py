"""The layout of a run: models, passes, rows and steps."""

from __future__ import annotations

import pytest

from mia_bench.planning.describe import describe_plan
from mia_bench.planning.specs import BEST_STEP


def test_clid_and_clid_vec_read_the_same_features(plan_of):
    clid, vec = plan_of("attack=[clid,clid_vec]").runs
    assert clid.evaluation == vec.evaluation
    assert clid.folder != vec.folder


def test_one_pass_per_model_and_rows(plan_of):
    missing = plan_of("attack=[clid,clid_vec,loss,mc]").missing()
    kinds = [(spec.kind, len(asked)) for (spec, _), asked in missing.items()]
    assert sorted(kinds) == [("base", 3), ("shadow", 3), ("target", 3)]


@pytest.mark.long
def test_an_attacker_who_does_not_know_of_the_mitigation_has_the_plain_shadow(plan_of):
    plain, aware = plan_of("attack=loss"), plan_of("attack=loss", "mitigation=augment")
    unaware = plan_of("attack=loss", "mitigation=augment", "calibration.shadow_mitigation=none")
    assert unaware.target.key == aware.target.key != plain.target.key
    assert unaware.shadow.key == plain.shadow.key != aware.shadow.key
    assert unaware.runs[0].folder != aware.runs[0].folder


def test_epochs_are_counted_by_the_members_of_each_model(plan_of):
    plan = plan_of(
        "finetune.steps=null", "finetune.epochs=10", "data.sizes.shadow_member=20", "attack=loss"
    )
    assert (plan.target.step, plan.shadow.step) == (15, 25)  # 10 x 12 / 8, 10 x 20 / 8


@pytest.mark.long
def test_the_step_of_early_stopping_is_open_until_it_is_trained(plan_of):
    stopping = ("mitigation=early_stop", "mitigation.early_stop.every=1", "attack=loss")
    plan = plan_of(*stopping)
    assert plan.target.step == plan.shadow.step == BEST_STEP
    assert plan.settled() is not plan
    assert plan_of(*stopping, "checkpoint=2", "finetune.save_at=[2]").target.step == 2
    assert "at most 4 steps" in "\n".join(describe_plan(plan))
