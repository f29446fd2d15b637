"""The rows of a plan by their roles, and the items behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mia_bench.data.source import Item
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role


@dataclass(frozen=True)
class PlannedRows:
    """The split, and the items by sample id."""

    split: Split
    items: Mapping[str, Item]

    def ids(self, *roles: Role) -> tuple[str, ...]:
        """Sample ids with one of `roles`, in sample-id order: members and others interleaved."""
        return tuple(self.split.sample_id[i] for i in self.split.rows(*roles))

    def items_of(self, sample_ids: Sequence[str]) -> list[Item]:
        return [self.items[sid] for sid in sample_ids]

    def captioned(self, sample_ids: Sequence[str]) -> list[tuple[str, str]]:
        """(sample id, the attacker's caption) of each."""
        return [(item.sample_id, item.caption) for item in self.items_of(sample_ids)]
