"""A predict step: gradients by access, and errors that name their attack."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from mia_bench.attacks import Access
from mia_bench.extraction.module import AttackModule
from mia_bench.extraction.shard_writer import Writer
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class Probe:
    """Measures whether gradients are recorded while it runs."""

    access: Access

    def features(self, target, batch):
        return {"grad": torch.full((len(batch), 1), float(torch.is_grad_enabled()))}


class Unanswerable:
    access = Access.BLACK_BOX

    def features(self, target, batch):
        raise ValueError("the model has no such timestep")


def step(target, batch, attack, folder):
    with Writer() as writer:
        module = AttackModule(target, {"probe-0": (attack, folder)}, {"probe-0": set()}, writer)
        return module._extract("probe-0", batch)


@pytest.mark.parametrize("access", list(Access))
def test_gradients_are_recorded_for_white_box_attacks_alone(memorize, tmp_path, access):
    target, batch, *_ = memorize(2)
    table, cost = step(target, batch, Probe(access), tmp_path)
    assert table.features["grad"].tolist() == [[float(access is Access.WHITE_BOX)]] * 2
    assert cost.rows == 2


def test_a_query_that_the_model_cannot_answer_names_the_option(memorize, tmp_path):
    target, batch, *_ = memorize(2)
    with pytest.raises(MiaError, match=r"attack probe: .*Change attack\.probe to fit it"):
        step(target, batch, Unanswerable(), tmp_path)
