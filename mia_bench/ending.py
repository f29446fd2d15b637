"""SIGTERM, as schedulers and `kill` send it, ends a run at once; the same command goes on.

Lightning takes the signal for itself: it would end a fit with status 0 and a predict pass not at
all, and of several processes each would wait for the others inside its handler.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from lightning.pytorch import Callback, LightningModule, Trainer

from mia_bench.plain import say

STATUS = 128 + signal.SIGTERM  # what shells and schedulers call a process that SIGTERM ended


class Ending(Callback):
    """Takes the signal back once Lightning has it; Lightning restores what was there before."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _listen()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _listen()


def _listen() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one does not wait for shards to be written
    say(
        "\nstopped by SIGTERM. Run the same command again: it goes on from what is finished.",
        error=True,
    )
    raise SystemExit(STATUS)
