"""A plan is written once, before the model is asked, and binds."""

from __future__ import annotations

import json

import pytest

from mia_bench.audit.preregistration import check_plan
from mia_bench.audit.program import prepare_audit, register_audit, run_audit
from mia_bench.audit.record import audit_folder, check_audit, read_plan
from mia_bench.utils.errors import MiaError


@pytest.fixture
def plan(ask_owner, tmp_path):
    return register_audit(ask_owner(plan=tmp_path / "plan.json"))


def test_a_plan_names_what_is_looked_at_and_how_it_is_judged(plan):
    content = read_plan(plan)
    assert content["alpha"] == 0.01
    assert set(content["attacks"]) == {"sima", "loss"}
    assert len(content["pictures"]) == 20
    assert content["thresholds"] == {"controls": 0.05, "single_pictures": 0.1}
    assert content["model"]


def test_the_result_names_the_hash_and_verify_checks_both(plan, ask_owner):
    result = run_audit(ask_owner(plan=plan))
    hash_of_plan = read_plan(plan)["hash"]
    assert result.plan_hash == hash_of_plan
    folder = audit_folder(result.prepared, hash_of_plan)
    checks = {name: (agrees, message) for name, agrees, message in check_audit(folder)}
    assert checks["plan"] == (True, f"{hash_of_plan} is what was carried out")
    page = ask_owner().outputs / "reports" / "audit" / "index.html"
    assert hash_of_plan in page.read_text()


@pytest.mark.long
def test_another_audit_is_not_the_plan(plan, ask_owner):
    prepared = prepare_audit(ask_owner(plan=plan, alpha=0.05, seed=1))
    with pytest.raises(MiaError, match=r"not the audit of .*seed.*alpha|alpha.*seed"):
        check_plan(prepared, plan)


@pytest.mark.long
def test_an_edited_plan_is_refused(plan, ask_owner):
    content = json.loads(plan.read_text())
    plan.write_text(json.dumps({**content, "alpha": 0.05}))
    with pytest.raises(MiaError, match="was edited"):
        check_plan(prepare_audit(ask_owner(plan=plan)), plan)


def test_a_plan_that_is_not_there_is_named_with_the_way_out(tmp_path):
    with pytest.raises(MiaError, match=r"none\.json is no file: mia-bench audit plan"):
        read_plan(tmp_path / "none.json")


@pytest.mark.long
def test_a_plan_is_written_once(plan, ask_owner):
    with pytest.raises(MiaError, match="there already"):
        register_audit(ask_owner(plan=plan))
    with pytest.raises(MiaError, match="plan=FILE"):
        register_audit(ask_owner())
