"""What `attack=all` saves by asking equal questions once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mia_bench.attacks import Access, Attack, query_fields
from mia_bench.bench.clock import Ratio, ratio
from mia_bench.bench.subjects import Workload


@dataclass(frozen=True)
class Sharing:
    """`time`: together over one by one; `evaluations`: the union of questions over their sum."""

    time: Ratio
    evaluations: float

    @property
    def excess(self) -> Ratio:
        """Time over what the questions alone would make of it."""
        return self.time.times(1 / self.evaluations)


def sharing(subject: Workload, attacks: list[Attack], rounds: int) -> Sharing:
    """Attacks on one batch in one pass, over the same attacks each in a pass of its own.

    Of a `cached()` subject nothing is encoded; others encode in every pass, as separate runs do.
    """
    target = subject.target
    tables = list({(type(a), str(query_fields(a))): a for a in attacks}.values())
    together = _evaluations(subject, lambda: _pass(subject, tables))
    alone = sum(_evaluations(subject, lambda a=a: _pass(subject, [a])) for a in tables)  # type: ignore[misc]
    target.forget()

    def one_by_one() -> None:
        for attack in tables:
            _pass(subject, [attack])

    return Sharing(ratio(lambda: _pass(subject, tables), one_by_one, rounds), together / alone)


def _pass(subject: Workload, attacks: list[Attack]) -> None:
    subject.target.forget()
    for attack in attacks:
        with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
            attack.features(subject.target, subject.batch)


def _evaluations(subject: Workload, work: Callable[[], None]) -> int:
    before = subject.target.queries["forward"]
    work()
    return subject.target.queries["forward"] - before
