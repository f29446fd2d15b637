"""Shards of features: merged into one table, with what they cost."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mia_bench.extraction.shards import SIBLINGS_FIELD, Cost, finished, merge
from mia_bench.storage.feature_table import Table, write_table
from mia_bench.utils.errors import MiaError


def test_merge_wants_each_id_exactly_once(tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    write_table(shards / "a.parquet", Table(("x", "y"), {"f": np.zeros((2, 1), np.float32)}))
    with pytest.raises(MiaError, match="1 missing"):
        merge(tmp_path, ["x", "y", "z"])
    write_table(shards / "b.parquet", Table(("y", "z"), {"f": np.zeros((2, 1), np.float32)}))
    with pytest.raises(MiaError, match="4 rows for 3"):
        merge(tmp_path, ["x", "y", "z"])


def test_costs_of_all_passes_are_summed(tmp_path):
    (tmp_path / "shards").mkdir()
    for name, ids in (("a", ("x", "y")), ("b", ("z",))):
        cost = Cost(2.0, len(ids), Counter(asked=3 * len(ids), forward=len(ids)))
        table = Table(ids, {"f": np.full((len(ids), 1), len(ids), np.float32)})
        write_table(tmp_path / "shards" / f"{name}.parquet", table, {"cost": vars(cost)})
    table, cost = merge(tmp_path, ["z", "x", "y"])
    assert table.features["f"].ravel().tolist() == [1, 2, 2]
    assert cost.to_json() == {
        "rows": 3, "seconds": 4.0, "nfe_forward": 3.0, "nfe_paid": 1.0, "nfe_backward": 0.0,
        "text_embeddings": 0.0,
    }  # fmt: skip


def test_a_batch_without_the_shards_of_all_its_attacks_is_not_finished(tmp_path):
    table = Table(("x",), {"f": np.zeros((1, 1), np.float32)})
    siblings = {SIBLINGS_FIELD: {"one": "a.parquet", "two": "a.parquet"}}
    folders = {name: tmp_path / name for name in ("one", "two")}
    for folder in folders.values():
        (folder / "shards").mkdir(parents=True)
        write_table(folder / "shards" / "a.parquet", table, siblings)
    assert finished(folders) == {"one": {"x"}, "two": {"x"}}
    (folders["two"] / "shards" / "a.parquet").unlink()
    assert finished(folders) == {"one": set(), "two": set()}
    assert not list(tmp_path.rglob("*.parquet"))
