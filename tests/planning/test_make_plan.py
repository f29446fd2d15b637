"""Making a plan lists the data, and a sweep lists it once."""

from __future__ import annotations

import pytest

from mia_bench.data.split import prepare
from mia_bench.data.split.roles import Role
from mia_bench.planning import make_plan as module
from mia_bench.planning.make_plan import Memo, make_plan
from mia_bench.utils.errors import MiaError


@pytest.mark.long
def test_plans_of_one_sweep_list_their_data_once(small, tmp_path, monkeypatch):
    listed = []

    def counting(*arguments):
        listed.append(arguments)
        return prepare.prepare(*arguments)

    monkeypatch.setattr(module, "prepare", counting)
    memo = Memo()
    words = [("attack=loss",), ("attack=clid", "eval.seed=4"), ("attack=loss", "data.split_seed=4")]
    plans = [make_plan(small(*overrides, outputs=tmp_path), memo) for overrides in words]
    assert len(listed) == 2
    assert plans[0].split is plans[1].split
    assert plans[2].split.content_hash != plans[0].split.content_hash
    assert len(list(tmp_path.glob("splits/*.json"))) == 2


def captions_of(path, rows) -> str:
    path.write_text("sample_id,caption\n" + "".join(f"{sid},a machine saw {sid}\n" for sid in rows))
    return f"mitigation.caption_machine.file={path}"


@pytest.mark.long
def test_machine_captions_are_trained_on_and_the_attacker_keeps_the_true_ones(small, tmp_path):
    plain = make_plan(small("attack=loss", outputs=tmp_path))
    members = plain.rows(Role.TARGET_MEMBER, Role.SHADOW_MEMBER)
    given = captions_of(tmp_path / "captions.csv", members)
    words = ("attack=loss", "mitigation=caption_machine")
    plan = make_plan(small(*words, given, outputs=tmp_path))
    (rewords,) = plan.target.setup.rewords
    first = members[0]
    assert rewords.captions([first], [("own",)], 0) == [(f"a machine saw {first}",)]
    assert plan.items[first].caption == plain.items[first].caption
    assert plan.target.key != plain.target.key
    moved = captions_of(tmp_path / "moved.csv", members)
    assert make_plan(small(*words, moved, outputs=tmp_path)).target.key == plan.target.key


@pytest.mark.long
def test_a_row_without_a_machine_caption_is_refused_in_the_plan(small, tmp_path):
    plain = make_plan(small("attack=loss", outputs=tmp_path))
    given = captions_of(tmp_path / "captions.csv", plain.rows(Role.TARGET_MEMBER)[1:])
    with pytest.raises(MiaError, match=r"mitigation\.caption_machine\.file=.*no caption for"):
        make_plan(small("attack=loss", "mitigation=caption_machine", given, outputs=tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mitigation=caption_machine",), "no captions to train on"),
        (
            ("mitigation=caption_machine", "mitigation.caption_machine.captioner=not/here"),
            "caption_machine.captioner=not/here: not a folder",
        ),
        (("mitigation=smp_lora", "data.sizes.validation=0"), "validation role"),
    ],
)
def test_what_a_defence_needs_and_has_not_is_refused_in_the_plan(small, tmp_path, words, message):
    with pytest.raises(MiaError, match=message):
        make_plan(small("attack=loss", *words, "plan_only=true", outputs=tmp_path))
