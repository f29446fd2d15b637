"""eval.complexity adds a row beside every attack and moves nothing that was there."""

from __future__ import annotations

import pytest

from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.errors import MiaError

WORDS = ("attack=[loss,clid]", "eval.base_calibrated=true", "eval.ensemble=true")


@pytest.fixture(scope="module")
def plan_of(small, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("complexity")
    return lambda *words: make_plan(small(*WORDS, *words, outputs=outputs))


def test_a_row_beside_every_attack(plan_of) -> None:
    plan, before = plan_of("eval.complexity=true"), plan_of()
    suffixes = ("", "-complexity", "-base")
    expected = [f"{name}{suffix}" for name in ("loss", "clid") for suffix in suffixes]
    assert [run.name for run in plan.runs] == expected
    assert [run.attack_name for run in plan.runs] == ["loss"] * 3 + ["clid"] * 3
    others = {run.name: run.folder for run in plan.runs if run.complexity is None}
    assert others == {run.name: run.folder for run in before.runs}
    assert plan.ensemble == before.ensemble  # made of attacks, not of what is derived from them


@pytest.mark.long
def test_all_rows_share_one_measurement_that_queries_nothing(plan_of) -> None:
    plan = plan_of("eval.complexity=true")
    tables = {run.complexity for run in plan.runs if run.complexity is not None}
    ((evaluation, calibration),) = tables
    assert evaluation.model == calibration.model == plan.base
    assert evaluation.sample_id == plan.runs[0].evaluation.sample_id
    assert calibration.sample_id == plan.runs[0].calibration.sample_id
    assert evaluation.evaluations == calibration.evaluations == 0
    assert evaluation.folder.name.startswith("image_complexity-")
    unaware = plan_of("eval.complexity=true", "mitigation=augment")
    assert unaware.target.key != plan.target.key
    shared = {run.complexity[0].folder for run in unaware.runs if run.complexity is not None}
    assert shared == {evaluation.folder}


def test_a_model_without_a_base_has_such_rows_too(small, tmp_path) -> None:
    words = ("attack=loss", "eval.complexity=true", "model.finetune=false", "calibration=split")
    words += ("data.random_labels=true", "data.sizes.target_member=24")
    plan = make_plan(small(*words, outputs=tmp_path))
    assert [run.name for run in plan.runs] == ["loss", "loss-complexity"]


def test_too_few_non_members_are_refused(plan_of) -> None:
    with pytest.raises(MiaError, match=r"eval\.complexity=true fits a line on calibration non-mem"):
        plan_of("eval.complexity=true", "data.sizes.shadow_nonmember=5")
