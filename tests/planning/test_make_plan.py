"""Making a plan lists the data, and a sweep lists it once."""

from __future__ import annotations

from mia_bench.data.split import prepare
from mia_bench.planning import make_plan as module
from mia_bench.planning.make_plan import Memo, make_plan


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
