"""Schedule, averaging and resumable state of both training stages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mia_bench.pretrain.loop import (
    learning_rate,
    load_state,
    save_state,
    step_generator,
    update_average,
)


def test_schedule_rises_holds_and_falls_to_zero():
    rates = [learning_rate(s, 1000, 1.0) for s in range(1000)]
    assert rates[0] == pytest.approx(1 / 200)
    assert rates[500] == 1.0
    assert rates[-1] == pytest.approx(1 / 250)
    assert learning_rate(1000, 1000, 1.0) == 0


def test_a_step_draws_the_same_numbers_whenever_it_is_taken():
    one, two = (torch.rand(3, generator=step_generator(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, torch.rand(3, generator=step_generator(8)))


def test_the_average_moves_by_its_share():
    average, model = nn.Linear(2, 2), nn.Linear(2, 2)
    old, new = average.weight.detach().clone(), model.weight.detach()
    update_average(average, model, 0.75)
    torch.testing.assert_close(average.weight.detach(), 0.75 * old + 0.25 * new)


def test_a_state_is_whole_or_absent(tmp_path):
    path = tmp_path / "state.pt"
    assert load_state(path) is None
    save_state(path, {"step": 3, "model": {"w": torch.ones(2)}})
    state = load_state(path)
    assert state is not None
    assert state["step"] == 3
    assert state["model"]["w"].tolist() == [1, 1]
    assert list(tmp_path.iterdir()) == [path]
