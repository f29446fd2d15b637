"""Fine-tuning of targets and shadows: a LightningModule and what it leaves on disk."""

from __future__ import annotations

import copy
import csv
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric

from mia_bench.batches import VALIDATION_TIMESTEPS, Rows, StepBatches, ValidationRows
from mia_bench.config import Recipe, TrainerOptions
from mia_bench.diffusion import add_noise
from mia_bench.errors import MiaError
from mia_bench.progress import StepProgress
from mia_bench.target import Condition, Target

LAST = "last.ckpt"
HISTORY = "train.csv"


class FinetuneModule(LightningModule):
    """Noise-prediction MSE on the U-Net; image codec and text encoder are frozen and cached.

    Objective: Ho et al. 2020, eq. 14, on the latents, with epsilon or v targets as the model's
    scheduler says. With `ema_decay` the averaged weights are validated and saved.
    """

    a: Tensor
    b: Tensor

    def __init__(self, target: Target, members: Rows, heldout: Rows, recipe: Recipe) -> None:
        super().__init__()
        self.unet = target.unet.train()
        self.ema = copy.deepcopy(self.unet).requires_grad_(False) if recipe.ema_decay else None
        self.recipe, self.members = recipe, members
        self.validation = {
            "member": members.take(recipe.val_rows),
            "heldout": heldout.take(recipe.val_rows),
        }
        self.prediction_type = target.prediction_type
        self.null = target.embed([""])
        self.register_buffer("a", target.a.clone(), persistent=False)
        self.register_buffer("b", target.b.clone(), persistent=False)
        self.timesteps = target.timesteps
        self.train_loss = MeanMetric()
        self.val_loss = nn.ModuleDict({name: MeanMetric() for name in self.validation})
        self.history: list[dict[str, float]] = []

    @property
    def result(self) -> nn.Module:
        """The weights to attack: the average where there is one."""
        return self.unet if self.ema is None else self.ema

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        batches = StepBatches(
            self.members,
            self.recipe,
            self.timesteps,
            trainer.global_rank,
            trainer.world_size,
            trainer.global_step,
        )
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        size = max(1, self.recipe.batch_size // self.recipe.accumulate)
        return [
            DataLoader(ValidationRows(rows, self.recipe.seed), batch_size=size)
            for rows in self.validation.values()
        ]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        hidden, extra = self._text(self.members.cond, batch["row"], batch["drop"])
        z0 = self.members.z0[batch["row"].cpu()].to(self.device)
        loss = self._loss(self.unet, z0, batch["t"], batch["eps"], hidden, extra).mean()
        if not torch.isfinite(loss):
            ids = ", ".join(self.members.sample_id[i] for i in batch["row"].tolist()[:8])
            raise MiaError(
                f"the training loss became {loss.item()} at step {self.global_step} (rows {ids}, "
                f"...). Lower finetune.lr (now {self.recipe.lr}) or use trainer.precision=32-true."
            )
        self.train_loss.update(loss.detach())
        self.log("train_loss", loss.detach())
        return loss

    def validation_step(
        self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        name = list(self.validation)[dataloader_idx]
        rows = self.validation[name]
        index = batch["row"]
        hidden, extra = self._text(rows.cond, index, torch.zeros_like(index, dtype=torch.bool))
        z0 = rows.z0[index.cpu()].to(self.device)
        for i, timestep in enumerate(VALIDATION_TIMESTEPS):
            t = torch.full_like(index, timestep)
            losses = self._loss(self.result, z0, t, batch["eps"][:, i], hidden, extra)
            metric = self.val_loss[name]
            assert isinstance(metric, MeanMetric)
            metric.update(losses)

    def on_validation_epoch_end(self) -> None:
        row = {
            "step": float(self.global_step),
            "epoch": self.global_step * self.recipe.batch_size / len(self.members.z0),
            "train_loss": float(self.train_loss.compute())
            if self.train_loss.update_called
            else 0.0,
        }
        for name, metric in self.val_loss.items():
            assert isinstance(metric, MeanMetric)
            row[f"val_{name}"] = float(metric.compute())
            metric.reset()
        self.train_loss.reset()
        self.history.append(row)
        self.log_dict({name: row[name] for name in row if name.startswith("val_")})

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.ema is not None and (batch_idx + 1) % self.recipe.accumulate == 0:
            decay = min(
                self.recipe.ema_decay or 0.0, (1 + self.global_step) / (10 + self.global_step)
            )
            with torch.no_grad():
                for slow, fast in zip(self.ema.parameters(), self.unet.parameters(), strict=True):
                    slow.lerp_(fast, 1 - decay)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.AdamW(
            self.unet.parameters(), lr=self.recipe.lr, weight_decay=self.recipe.weight_decay
        )
        warmup = max(1, self.recipe.warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda s: min(1.0, (s + 1) / warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])

    def _loss(
        self,
        unet: nn.Module,
        z0: Tensor,
        t: Tensor,
        eps: Tensor,
        hidden: Tensor,
        extra: Mapping[str, Tensor],
    ) -> Tensor:
        """(B,) mean squared error over latent elements, on eps or v as the model predicts."""
        shape = (-1,) + (1,) * (z0.ndim - 1)
        a, b = self.a[t].view(shape), self.b[t].view(shape)
        z_t = add_noise(z0, eps, a, b)
        wanted = eps if self.prediction_type == "epsilon" else a * eps - b * z0
        raw = unet(
            z_t, t, encoder_hidden_states=hidden, added_cond_kwargs=extra or None, return_dict=False
        )[0]
        return F.mse_loss(raw.float(), wanted, reduction="none").flatten(1).mean(1)

    def _text(self, cond: Condition, row: Tensor, drop: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        index = row.cpu()
        hidden = cond.hidden[index].to(self.device)
        hidden = torch.where(drop.view(-1, 1, 1), self.null.hidden.to(self.device), hidden)
        return hidden, {name: value[index].to(self.device) for name, value in cond.extra.items()}


class Keeper(Callback):
    """Saves weights at the scheduled steps and a checkpoint to resume from, each atomically."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self.save_at = {*recipe.save_at, recipe.steps}
        self.done = -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step == self.done or step == 0:
            return
        self.done = step
        assert isinstance(pl_module, FinetuneModule)
        if step in self.save_at and trainer.is_global_zero:
            save_weights(pl_module.result, self.folder / "steps" / str(step))
        if step % self.recipe.checkpoint_every == 0 and step < self.recipe.steps:
            partial = self.folder / "last.part"
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                os.replace(partial, self.folder / LAST)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FinetuneModule)
        if trainer.is_global_zero:
            write_history(self.folder / HISTORY, pl_module.history)


def save_weights(unet: nn.Module, folder: Path) -> None:
    """`folder` in diffusers' layout (config.json, safetensors), complete or absent."""
    partial = folder.with_name(folder.name + ".part")
    unet.save_pretrained(partial, safe_serialization=True)  # type: ignore[operator]
    if not folder.exists():
        os.replace(partial, folder)


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    if rows:
        with path.with_suffix(".part").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        os.replace(path.with_suffix(".part"), path)


def finetune(
    target: Target,
    members: Rows,
    heldout: Rows,
    recipe: Recipe,
    options: TrainerOptions,
    folder: Path,
    label: str = "fine-tune",
) -> dict[str, Any]:
    """Train `target.unet` on `members` into `folder`; continues from last.ckpt when there is one.

    Returns: what the manifest should say.
    Raises: MiaError when the loss stops being finite.
    """
    module = FinetuneModule(target, members, heldout, recipe)
    trainer = Trainer(
        max_steps=recipe.steps,
        max_epochs=-1,
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=options.strategy,
        precision=options.precision,  # type: ignore[arg-type]
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.max_grad_norm,
        val_check_interval=recipe.val_every * recipe.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[Keeper(folder, recipe), StepProgress(label)],
    )
    last = folder / LAST
    resumed, began = last.exists(), time.monotonic()
    trainer.fit(module, ckpt_path=last if resumed else None, weights_only=True)
    each = (time.monotonic() - began) / recipe.steps
    last.unlink(missing_ok=True)
    return {
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "seconds_per_step": None if resumed else round(each, 5),
        "epochs": round(recipe.steps * recipe.batch_size / len(members.z0), 2),
        "device": str(trainer.strategy.root_device),
        "history": module.history,
    }
