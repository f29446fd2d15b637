"""What a fine-tune leaves on disk while it runs: weights, history, and where to resume."""

from __future__ import annotations

import csv
import math
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn

from mia_bench.config.recipe import Recipe
from mia_bench.storage import layout
from mia_bench.storage.files import PARTIAL_SUFFIX, replacing
from mia_bench.training.update_filter import UpdateFilter
from mia_bench.utils.terminal import echo


class HasWeights(Protocol):
    """What `CheckpointWriter` reads of the module that trains."""

    result: nn.Module
    history: list[dict[str, float]]


class CheckpointWriter(Callback):
    """Saves weights at the scheduled steps and a checkpoint to resume from, each atomically.

    With `keep_best`, the weights of the lowest validation loss are saved, too; those of an earlier
    lowest loss are removed unless they were scheduled.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        keep_best: bool = False,
        update_filter: UpdateFilter | None = None,
    ) -> None:
        self.folder, self.recipe, self.keep_best = folder, recipe, keep_best
        self.update_filter = update_filter
        self.save_at = {*recipe.save_at, recipe.total}
        self.done = -1
        self.best, self.best_step = math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mark the step that a resumed run starts from as saved.

        Its next checkpoint is due a step later: one between two micro-batches would leave out the
        gradients that are accumulated so far.
        """
        self.done = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step == self.done or step == 0:
            return
        self.done = step
        if step in self.save_at and trainer.is_global_zero:
            self._save(pl_module, step)
        if step % self.recipe.val_every:  # else after validation, which a resume would skip
            self._checkpoint(trainer)

    def _checkpoint(self, trainer: Trainer) -> None:
        step = trainer.global_step
        if step % self.recipe.checkpoint_every == 0 and step < self.recipe.total:
            partial = self.folder / f"last{PARTIAL_SUFFIX}"
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                os.replace(partial, self.folder / layout.LAST_CHECKPOINT_FILE)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        history = cast(HasWeights, pl_module).history
        if trainer.is_global_zero:
            write_history(self.folder / layout.HISTORY_FILE, history)
        loss = history[-1].get("val_heldout", math.inf)
        if self.keep_best and loss < self.best:
            before, self.best, self.best_step = self.best_step, loss, trainer.global_step
            if trainer.is_global_zero:
                self._save(pl_module, self.best_step)
                if before not in self.save_at:
                    shutil.rmtree(layout.weights_folder(self.folder, before), ignore_errors=True)
        self._checkpoint(trainer)

    def _save(self, module: LightningModule, step: int) -> None:
        adapters = self.recipe.lora_rank is not None
        network, folder = cast(HasWeights, module).result, layout.weights_folder(self.folder, step)
        filtered = self.update_filter.applied(network) if self.update_filter else nullcontext()
        with filtered:
            save_weights(network, folder, adapters)


class InPlace(TorchCheckpointIO):
    """Writes checkpoints straight to their path.

    Lightning's own goes through the machine's temporary folder, which may be small, and leaves
    gigabytes there when it is killed.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        with Path(path).open("wb") as handle:
            torch.save(checkpoint, handle)


def save_weights(unet: nn.Module, folder: Path, adapters: bool = False) -> None:
    """`folder` in diffusers' layout (safetensors), complete or absent; `adapters`: the LoRA."""
    partial = folder.with_name(folder.name + PARTIAL_SUFFIX)
    if adapters:
        from mia_bench.models.lora.training import save_lora

        save_lora(unet, partial)
    else:
        unet.save_pretrained(partial, safe_serialization=True)  # type: ignore[operator]
    if folder.exists():  # a killed run had got further than its last checkpoint
        shutil.rmtree(folder)
    os.replace(partial, folder)


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    if rows:
        with replacing(path) as partial, partial.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def is_intact(checkpoint: Path) -> bool:
    """There is a checkpoint to resume from, and its records have the checksums they were written
    with; torch itself would load flipped bytes. A damaged one is removed, with a message.
    """
    if not checkpoint.exists():
        return False
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            damaged = archive.testzip()
        torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a reader trips over
        damaged = str(error).partition("\n")[0]
    if damaged is None:
        return True
    echo(f"{checkpoint} is damaged ({damaged}): training begins again.", error=True)
    checkpoint.unlink()
    return False
