"""What every Trainer of this project has in common: progress bars, SIGTERM, ranks."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from mia_bench.utils.terminal import echo

if TYPE_CHECKING:
    from lightning.pytorch.strategies import Strategy


class StepProgress(Callback):
    """Optimiser steps of a fine-tune, from wherever a resumed one starts."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.bar = tqdm(
                total=trainer.max_steps, initial=trainer.global_step, desc=self.label, unit="step"
            )

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)
            loss = trainer.callback_metrics.get("train_loss")
            if loss is not None:
                self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class RowProgress(Callback):
    """Samples scored in a predict pass."""

    def __init__(self, label: str, rows: int = 0) -> None:
        self.label, self.rows = label, rows
        self.bar: tqdm[Any] | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.bar = tqdm(total=self.rows, desc=self.label, unit="image")

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        if self.bar is not None:
            self.bar.update(min(len(batch) * trainer.world_size, self.rows - self.bar.n))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


SIGTERM_STATUS = (
    128 + signal.SIGTERM
)  # what shells and schedulers call a process that SIGTERM ended


class SigtermHandler(Callback):
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
    echo(
        "\nstopped by SIGTERM. Run the same command again: it goes on from what is finished.",
        error=True,
    )
    raise SystemExit(SIGTERM_STATUS)


RANK_TIMEOUT = timedelta(hours=12)


class Ranks(Protocol):
    """The part of the trainer's options that says how processes work together."""

    strategy: str

    @property
    def ranks(self) -> int: ...


def lightning_strategy(options: Ranks) -> str | Strategy:
    """What Lightning is given; several ranks wait for each other up to `RANK_TIMEOUT`.

    Each asks about its own images for hours before they meet; torch's half an hour is less than
    they may differ by. Where a rank died its launcher ends the others: Lightning and torchrun do,
    srun with --kill-on-bad-exit.
    """
    if options.strategy != "ddp" and options.ranks == 1:
        return options.strategy
    from lightning.pytorch.strategies import DDPStrategy

    return DDPStrategy(timeout=RANK_TIMEOUT)
