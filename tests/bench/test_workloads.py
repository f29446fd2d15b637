"""Workloads: cached ones encode nothing, drawings are the same every time."""

from __future__ import annotations

import pytest

from mia_bench.bench import overhead
from mia_bench.bench.workloads import (
    CachedLatents,
    CachedText,
    Workload,
    all_attacks,
    attack,
    drawings,
)


def test_a_cached_workload_encodes_nothing(random_target, random_batch):
    workload = Workload(random_target(), random_batch(3)).cached()
    run = overhead.predict_step(workload, "clid")
    run()
    before = workload.target.queries["encode"]
    run()
    assert workload.target.queries["encode"] == before
    assert isinstance(workload.target.store, CachedLatents)
    assert isinstance(workload.target.text, CachedText)


def test_cached_texts_are_those_of_the_text_stack(random_target):
    text = random_target().text
    cached = CachedText(text)
    rows, extra = cached.embed(["a cat", "a dog", "a cat"])
    assert extra == {}
    assert len(cached.rows) == 2
    assert rows.allclose(text.embed(["a cat", "a dog", "a cat"])[0], atol=1e-6)


@pytest.mark.parametrize("name", ["loss", "gsa2"])
def test_attacks_are_those_of_the_configuration(name):
    assert type(attack(name)).__module__.startswith("mia_bench.attacks.")


def test_all_attacks_are_those_of_attack_all():
    kinds = {type(each).__module__.rpartition(".")[2] for each in all_attacks()}
    assert {"clid", "loss", "secmi", "pfami", "gsa"} <= kinds


def test_drawings_are_the_first_of_openmoji():
    assert drawings(3) == drawings(5)[:3]
