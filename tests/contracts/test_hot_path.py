"""Attacks do not wait for the device once per question: no value is fetched row by row."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from attack_nodes import NODES, QUICK, parameters
from torch import Tensor

from mia_bench.attacks import Access, Attack
from mia_bench.config.instantiate import build
from mia_bench.target import Batch, Target

FETCHES = ("item", "cpu", "numpy", "tolist", "nonzero", "__bool__", "__float__", "__int__")
SIZE = {"drc_tasks": 32}
# Where faces are is found on the CPU, picture by picture.
BY_ROW = {"drc_face"}
MOST = 8  # a batch: DRC fetches the boxes of its holes


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Who called the methods of any tensor that wait for its values: method, file and line."""
    calls: list[str] = []
    with monkeypatch.context() as patched:
        for name in FETCHES:
            method = getattr(Tensor, name)

            def fetch(*args: Any, name: str = name, method: Any = method, **rest: Any) -> Any:
                caller = sys._getframe(1)
                calls.append(f"{name} {caller.f_code.co_filename}:{caller.f_lineno}")
                return method(*args, **rest)

            patched.setattr(Tensor, name, fetch)
        yield calls


@pytest.mark.parametrize("name", parameters(NODES.keys() - BY_ROW, NODES.keys() - QUICK))
def test_fetches_do_not_grow_with_rows(
    name: str,
    random_target: Callable[..., Target],
    random_batch: Callable[..., Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attack: Attack = build(NODES[name], f"attack.{name}")
    size, fetches = SIZE.get(name, 16), []
    for rows in (2, 5):
        target, batch = random_target(size=size), random_batch(rows, 0, size)
        with torch.set_grad_enabled(attack.access is Access.WHITE_BOX), counted(monkeypatch) as n:
            attack.features(target, batch)
        fetches.append(n)
    few, more = map(len, fetches)
    assert few == more <= MOST, Counter(fetches[1])


def test_the_count_sees_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    with counted(monkeypatch) as calls:
        x = torch.ones(3)
        assert x.sum() == 3
        x.sum().item()
        x.cpu().numpy()
    assert [call.split()[0] for call in calls] == ["__bool__", "item", "cpu", "numpy"]
