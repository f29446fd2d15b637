"""What every Trainer of this project has in common: its set-up, progress bars, SIGTERM, ranks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from mia_bench.utils.memory import keep_freed_memory
from mia_bench.utils.terminal import GO_ON, echo

if TYPE_CHECKING:
    from lightning.pytorch.plugins import CheckpointIO
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
    """Images whose features a predict pass has extracted."""

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


# the exit status by which shells and schedulers know a process that SIGTERM ended
SIGTERM_STATUS = 128 + signal.SIGTERM


class SigtermHandler(Callback):
    """Replaces Lightning's handler of SIGTERM, which Lightning itself takes off at the end."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _handle_sigterm()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _handle_sigterm()


def _handle_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal does not wait for pending shards
    echo(f"\nstopped by SIGTERM. {GO_ON}", error=True)
    raise SystemExit(SIGTERM_STATUS)


RANK_TIMEOUT = timedelta(hours=12)


class Processes(Protocol):
    """The part of the trainer's options that says where a model runs, and in how many processes."""

    accelerator: str
    devices: int
    num_nodes: int
    strategy: str

    @property
    def ranks(self) -> int: ...


@dataclass(frozen=True)
class TrainingLoop:
    """What a Trainer that fits is told beyond one that predicts.

    `accumulate`: micro-batches of a step; `validate_every`: steps, or None for never; `folder`:
    Lightning's root.
    """

    steps: int
    accumulate: int
    max_grad_norm: float | None
    precision: str
    folder: Path
    validate_every: int | None = None


def make_trainer(
    processes: Processes,
    callbacks: Sequence[Callback],
    loop: TrainingLoop | None = None,
    checkpoints: CheckpointIO | None = None,
) -> Trainer:
    """A Trainer without Lightning's own logger, checkpoints, progress bar, summary and sampler.

    Without `loop` it predicts, in float32 and without inference mode, whose tensors no attack could
    differentiate; whether gradients are recorded is for the module to say.
    """
    keep_freed_memory()
    fitting: dict[str, Any] = {"precision": "32-true", "inference_mode": False}
    if loop is not None:
        every = loop.validate_every
        fitting = {
            "precision": loop.precision,
            "max_steps": loop.steps,
            "max_epochs": -1,
            "accumulate_grad_batches": loop.accumulate,
            "gradient_clip_val": loop.max_grad_norm,
            "val_check_interval": None if every is None else every * loop.accumulate,
            "check_val_every_n_epoch": 1 if every is None else None,
            "limit_val_batches": 0 if every is None else None,
            "num_sanity_val_steps": 0,
            "default_root_dir": loop.folder,
        }
    return Trainer(
        accelerator=processes.accelerator,
        devices=processes.devices,
        num_nodes=processes.num_nodes,
        strategy=lightning_strategy(processes),
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        plugins=None if checkpoints is None else [checkpoints],
        **fitting,
    )


def lightning_strategy(processes: Processes) -> str | Strategy:
    """The strategy to give Lightning; several ranks wait for each other up to `RANK_TIMEOUT`.

    Each rank works on its own images for hours before they meet, and may be later than the others
    by more than torch's default of half an hour. Where a rank dies, its launcher ends the others:
    Lightning and torchrun do, srun does with --kill-on-bad-exit.
    """
    if processes.strategy != "ddp" and processes.ranks == 1:
        return processes.strategy
    from lightning.pytorch.strategies import DDPStrategy

    return DDPStrategy(timeout=RANK_TIMEOUT)
