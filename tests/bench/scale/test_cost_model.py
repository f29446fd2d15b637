"""The cost model: a sum over counted queries."""

from __future__ import annotations

from mia_bench.bench.scale import cost_model
from mia_bench.bench.workloads import attack


def test_the_cost_model_is_a_sum():
    of = {"forward": 2.0, "encode": 10.0, "decode": 100.0, "embed": 1000.0}
    queries = {"forward": 3.0, "encode": 1.0, "decode": 0.0, "embed": 2.0}
    prices = cost_model.Prices(of, image=0.5, shard=0.25, start=7.0)
    assert prices.total(queries, images=4, shards=8) == 6 + 10 + 2000 + 2 + 2 + 7


def test_a_timed_pass_counts_its_queries():
    seconds, queries, images = cost_model.timed_pass("pia", 3, cached=True)
    assert seconds > 0
    assert queries == {"forward": 6.0, "encode": 0.0, "decode": 0.0, "embed": 3.0}
    assert images == 0
    _, queries, images = cost_model.timed_pass("pia", 3, cached=False)
    assert queries["encode"] == images == 3


def test_a_campaign_counts_shared_queries_once():
    queries = cost_model.queries_per_row([attack("clid"), attack("loss")])
    assert queries["forward"] == 15
    assert queries["encode"] == 1
