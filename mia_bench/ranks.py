"""How processes of one run work together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch.strategies import Strategy

PATIENCE = timedelta(hours=12)


def strategy(name: str) -> str | Strategy:
    """Lightning's strategy of that name; ranks of "ddp" wait for each other up to `PATIENCE`.

    Each asks about its own images for hours before they meet; torch's half an hour is less than
    they may differ by. A rank that died keeps nobody waiting: its launcher ends the others.
    """
    if name != "ddp":
        return name
    from lightning.pytorch.strategies import DDPStrategy

    return DDPStrategy(timeout=PATIENCE)
