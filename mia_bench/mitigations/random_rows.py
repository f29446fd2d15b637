"""As many rows as another filter drops, drawn at random: the control of mitigation=ss_ei [ours].

A step that trains on fewer rows learns less, and what learns less memorises less. `dropped` is the
share that the filter left out (`dropped_rows.share` in its model's manifest), so that the
difference between the two is what choosing the rows buys. Rows are drawn anew at every step; no
evaluation of the network is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mia_bench.mitigations import TrainingContext
from mia_bench.mitigations.caption_influence import require_whole_steps

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor


@dataclass(frozen=True)
class RandomRows:
    """The share `dropped` of every step's rows is left out of its loss."""

    dropped: float = 0.39

    def __post_init__(self) -> None:
        if not 0 < self.dropped < 1:
            raise ValueError("dropped is a share of the rows between 0 and 1")

    def check(self, context: TrainingContext) -> None:
        require_whole_steps("random_rows", context)

    def drawn(self, rows: int, draw: Generator) -> Tensor:
        """(rows,) booleans; the number left out is exact in the mean over steps."""
        import torch

        left_out = int(self.dropped * rows + draw.random())
        kept = torch.ones(rows, dtype=torch.bool)
        kept[draw.permutation(rows)[:left_out]] = False
        return kept
