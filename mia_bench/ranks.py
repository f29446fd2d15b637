"""How processes of one run work together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mia_bench.config import TrainerOptions

if TYPE_CHECKING:
    from lightning.pytorch.strategies import Strategy

PATIENCE = timedelta(hours=12)


def strategy(options: TrainerOptions) -> str | Strategy:
    """What Lightning is given; several ranks wait for each other up to `PATIENCE`.

    Each asks about its own images for hours before they meet; torch's half an hour is less than
    they may differ by. Where a rank died its launcher ends the others: Lightning and torchrun do,
    srun with --kill-on-bad-exit.
    """
    if options.strategy != "ddp" and options.ranks == 1:
        return options.strategy
    from lightning.pytorch.strategies import DDPStrategy

    return DDPStrategy(timeout=PATIENCE)
