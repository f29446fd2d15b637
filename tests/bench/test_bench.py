"""The yardsticks themselves: ratios, the literal loops, growth, and how figures are kept."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest
import torch

from mia_bench.bench import __main__ as command
from mia_bench.bench import (
    clock,
    cost,
    growth,
    kept,
    levers,
    literal,
    overhead,
    page,
    precision,
    scale,
    sharing,
)
from mia_bench.bench.clock import ratio
from mia_bench.bench.page import LINES, PageRow
from mia_bench.bench.subjects import RememberedLatents, RememberedText, Workload, attack


def test_a_ratio_is_of_medians_in_turn(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work(name, seconds):
        def run():
            order.append(name)
            now[0] += seconds * len(order)  # the machine gets slower and slower

        return run

    found = ratio(work("a", 3.0), work("b", 2.0), rounds=40)
    assert order[:6] == ["a", "b", "a", "b", "b", "a"]
    assert found.value == pytest.approx(1.5, rel=0.02)
    assert found.lo <= found.value <= found.hi
    assert found.times(4).value == pytest.approx(4 * found.value)


@pytest.mark.parametrize(("name", "questions"), [("clid", 15), ("secmi", 38), ("pfami", 20)])
def test_the_literal_loops_ask_what_they_say(name, questions, random_target, random_batch):
    target, batch = random_target(), random_batch(2)
    calls = []
    target.unet.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    try:
        scores = literal.loop(target, batch.image, batch.caption, name)
    finally:
        target.unet._forward_hooks.clear()
    assert len(scores) == 2
    assert calls == [1] * 2 * questions


def test_the_literal_gradients_are_gsa2s(fresh_target, random_batch, measure, monkeypatch):
    """On the same noise the literal sum of norms is what the attack's features add up to."""
    target, batch = fresh_target(), random_batch(1)
    path = iter(range(99, 1000, 100))
    monkeypatch.setattr(torch, "randn_like", lambda _: target.noise(batch.sample_id, next(path)))
    found = literal.gsa2(target, batch.image, batch.caption[0])
    log_norm = measure(attack("gsa2"), target, batch)["log_norm"]
    named = dict(target.unet.named_parameters())
    assert log_norm.shape == (1, len(named))
    assert found == pytest.approx(np.exp(log_norm).sum(), rel=1e-3)


def test_a_cached_subject_encodes_nothing(random_target, random_batch):
    subject = Workload(random_target(), random_batch(3)).cached()
    run = overhead.scoring(subject, "clid")
    run()
    before = subject.target.queries["encode"]
    run()
    assert subject.target.queries["encode"] == before
    assert isinstance(subject.target.store, RememberedLatents)
    assert isinstance(subject.target.text, RememberedText)


def test_sharing_counts_the_union(random_target, random_batch):
    subject = Workload(random_target(), random_batch(2)).cached()
    found = sharing.sharing(subject, [attack("clid"), attack("loss"), attack("pia")], 1)
    assert found.evaluations == pytest.approx(17 / 18)  # loss's question is one of CLiD's


def test_growth_is_the_slope_of_logarithms():
    assert growth.exponent((10, 100, 1000), [2.0, 20.0, 200.0]) == pytest.approx(1.0)
    assert growth.exponent((10, 100, 1000), [1.0, 100.0, 10000.0]) == pytest.approx(2.0)


def test_a_pass_over_made_up_pictures_asks_about_each_once(tmp_path):
    found = [growth.pass_over(3, "loss", tmp_path) for _ in range(2)]
    assert [(each["rows"], each["asked"]) for each in found] == [(3, 3), (3, 0)]
    assert found[0]["seconds"] > 0
    assert found[0]["peak"] > 1e8


def test_figures_of_other_parts_are_kept(tmp_path, monkeypatch, capsys):
    out = tmp_path / "figures.json"
    measured = {"overhead": kept.circumstances() | {"date": "2025-01-02"}}
    old = {"overhead.clid": {"value": 1.01, "lo": 1.0, "hi": 1.02}, "start.help_seconds": 9}
    out.write_text(json.dumps(old | {"measured": measured}))
    monkeypatch.setitem(command.PARTS, "start", lambda rounds: {"start.help_seconds": rounds / 2})
    words = ["bench", "start", "--rounds", "3", "--out", str(out), "--clock", "process"]
    monkeypatch.setattr(sys, "argv", words)
    command.main()
    clock.use("wall")
    found = json.loads(out.read_text())
    assert found["overhead.clid"]["value"] == 1.01
    assert found["start.help_seconds"] == 1.5
    assert found["measured"]["overhead"]["date"] == "2025-01-02"
    assert found["measured"]["start"]["clock"] == "process"
    assert "start.help_seconds" in capsys.readouterr().out
    page = (tmp_path / "figures.md").read_text()
    assert "| clid over the bare loop | 1.01 | 1.000 to 1.020 | <= 1.05 met |" in page
    assert "| --help (s) | 1.5 |  | <= 2 met |" in page
    assert "2025-01-02" in page


def test_no_part_named_means_the_default_ones(tmp_path, monkeypatch):
    measured = []
    for name in command.PARTS:
        monkeypatch.setitem(command.PARTS, name, lambda _, name=name: measured.append(name) or {})
    monkeypatch.setattr(sys, "argv", ["bench", "--out", str(tmp_path / "figures.json")])
    command.main()
    assert measured == list(command.DEFAULT)


def test_a_part_that_does_not_exist_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "overheads"])
    with pytest.raises(SystemExit):
        command.main()
    assert "'overheads'" in capsys.readouterr().err


def test_what_misses_its_target_says_so():
    assert PageRow("k", "t", ">=", 6).verdict(5.9) == ">= 6 **missed**"
    assert PageRow("k", "t", "<=", 6).verdict(5.9) == "<= 6 met"
    assert PageRow("k", "t").verdict(5.9) == ""
    assert PageRow("k", "t", "~", 0.15).verdict(0.86) == "1 within 0.15 met"
    assert PageRow("k", "t", "~", 0.15).verdict(1.16) == "1 within 0.15 **missed**"


def test_every_part_has_its_page():
    assert LINES.keys() == command.PARTS.keys()


def test_drift_is_shown_by_attack():
    row = {"float32": 0.8, "change": -0.02, "lo": -0.03, "hi": -0.01, "rank_correlation": 0.99}
    shown = {"precision.bfloat16.pia": row, "measured": {"precision": kept.circumstances()}}
    (line,) = [line for line in page._page(shown) if "pia" in line]
    assert line.endswith("| no |")
    assert "-0.0300 to -0.0100" in line


def test_rank_correlation_sees_order_alone():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert precision.rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert precision.rank_correlation(a, -a) == pytest.approx(-1)


@pytest.mark.parametrize("kind", clock.CLOCKS)
def test_a_sleep_is_no_computing(kind):
    clock.use(kind)
    try:
        taken = clock.elapsed(lambda: time.sleep(0.2))
    finally:
        clock.use("wall")
    assert (taken > 0.15) == (kind == "wall")


def test_computing_of_child_processes_counts(run_python):
    clock.use("process")
    try:
        taken = clock.elapsed(lambda: run_python("-c", "sum(range(5_000_000))"))
    finally:
        clock.use("wall")
    assert taken > 0.02


def test_levers_are_of_the_same_network(random_target, random_batch):
    subject = Workload(random_target(), random_batch(2))
    found = levers.levers(subject, 2, 1, compiled=False)
    assert found.keys() == {
        *("contiguous", "plain_attention", "inference_mode", "bfloat16", "float16")
    }
    assert next(subject.target.unet.parameters()).dtype is torch.float32


def test_metrics_of_many_rows_are_measured():
    found = scale.evaluate_rows(300)
    assert found["seconds"] > 0
    assert found["bytes_per_row"] >= 0


def test_the_cost_model_is_a_sum():
    of = {"forward": 2.0, "encode": 10.0, "decode": 100.0, "embed": 1000.0}
    asked = {"forward": 3.0, "encode": 1.0, "decode": 0.0, "embed": 2.0}
    priced = cost.Prices(of, picture=0.5, shard=0.25, start=7.0)
    assert priced(asked, pictures=4, shards=8) == 6 + 10 + 2000 + 2 + 2 + 7


def test_a_timed_pass_says_what_it_asked():
    seconds, asked, pictures = cost.timed("pia", 3, cached=True)
    assert seconds > 0
    assert asked == {"forward": 6.0, "encode": 0.0, "decode": 0.0, "embed": 3.0}
    assert pictures == 0
    _, asked, pictures = cost.timed("pia", 3, cached=False)
    assert asked["encode"] == pictures == 3


def test_a_campaign_counts_shared_questions_once():
    asked = cost.questions([attack("clid"), attack("loss")])
    assert asked["forward"] == 15
    assert asked["encode"] == 1
