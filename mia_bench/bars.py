"""Progress bars of Lightning's loops, on stderr and only as wide as needed."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm


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
