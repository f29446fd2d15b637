"""The yardsticks themselves: ratios, the literal loops, growth, and how figures are kept."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest
import torch

from mia_bench.bench import __main__ as command
from mia_bench.bench import growth, literal, overhead, sharing
from mia_bench.bench.clock import ratio
from mia_bench.bench.subjects import RememberedLatents, RememberedText, Subject, attack


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
    subject = Subject(random_target(), random_batch(3)).cached()
    run = overhead.scoring(subject, "clid")
    run()
    before = subject.target.queries["encode"]
    run()
    assert subject.target.queries["encode"] == before
    assert isinstance(subject.target.store, RememberedLatents)
    assert isinstance(subject.target.text, RememberedText)


def test_sharing_counts_the_union(random_target, random_batch):
    subject = Subject(random_target(), random_batch(2)).cached()
    found = sharing.sharing(subject, [attack("clid"), attack("loss"), attack("pia")], 1)
    assert found.evaluations == pytest.approx(17 / 18)  # loss's question is one of CLiD's


def test_growth_is_the_slope_of_logarithms():
    assert growth.exponent((10, 100, 1000), [2.0, 20.0, 200.0]) == pytest.approx(1.0)
    assert growth.exponent((10, 100, 1000), [1.0, 100.0, 10000.0]) == pytest.approx(2.0)


def test_a_pass_over_made_up_pictures_reads_each_once():
    found = growth.pass_over(3, "loss")
    assert found["rows"] == 3
    assert found["seconds"] > 0
    assert found["peak"] > 1e8


def test_figures_of_other_parts_are_kept(tmp_path, monkeypatch, capsys):
    out = tmp_path / "figures.json"
    out.write_text(json.dumps({"overhead.clid": 1.01, "start.help_seconds": 9}))
    monkeypatch.setitem(command.PARTS, "start", lambda rounds: {"start.help_seconds": rounds / 2})
    monkeypatch.setattr(sys, "argv", ["bench", "start", "--rounds", "3", "--out", str(out)])
    command.main()
    kept = json.loads(out.read_text())
    assert kept["overhead.clid"] == 1.01
    assert kept["start.help_seconds"] == 1.5
    assert kept["machine"]["cores"] >= 1
    assert "start.help_seconds" in capsys.readouterr().out
