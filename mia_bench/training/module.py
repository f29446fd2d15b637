"""The LightningModule that fine-tunes a U-Net on cached latents."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric

from mia_bench.mitigations import TrainingSetup
from mia_bench.target import Target
from mia_bench.training.batches import (
    EncodedRows,
    StepBatches,
    ValidationRows,
    validation_timesteps,
)
from mia_bench.training.defence_records import DefenceRecords
from mia_bench.training.nan_checks import require_gradients, require_losses
from mia_bench.training.objective import Objective
from mia_bench.training.optimizer import (
    average_of,
    make_optimizer,
    trained_part,
    update_average,
)
from mia_bench.training.prediction import Noised, implied_noise
from mia_bench.training.proxy import Proxy
from mia_bench.training.views import AugmentedViews
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator


class FinetuneModule(LightningModule):
    """Noise-prediction MSE on the network; image codec and text encoder are frozen.

    Objective: Ho et al. 2020, eq. 14, on the latents, with epsilon or v targets as the model's
    scheduler says; of flow matching the velocity eps - z0 (Esser et al. 2024, arXiv 2403.03206,
    eq. 2), or the clean latents it implies. With `ema_decay` the averaged weights are validated and
    saved.
    """

    def __init__(
        self,
        target: Target,
        members: EncodedRows,
        heldout: EncodedRows | None,
        setup: TrainingSetup,
        training_rows: EncodedRows | None = None,
        views: AugmentedViews | None = None,
        nonmembers: EncodedRows | None = None,
    ) -> None:
        super().__init__()
        recipe = setup.recipe
        unet = trained_part(target.unet.train(), recipe)
        self.ema = average_of(unet) if recipe.ema_decay else None
        self.training_setup, self.private = setup, setup.private
        self.unet = unet if self.private is None else self.private.prepare(unet)
        self.recipe, self.views = recipe, views
        self.drops_activations = any(isinstance(m, nn.Dropout) and m.p > 0 for m in unet.modules())
        self.training_rows = training_rows or members
        self.codec = [target.latents]  # in a list: no submodule, not trained, not saved
        self.strict_loading = False  # frozen weights are not in checkpoints
        self.validation = {"member": members.take(recipe.val_rows)}
        if heldout is not None:
            self.validation["heldout"] = heldout.take(recipe.val_rows)
        self.prediction_type = target.prediction_type
        if recipe.loss == "clean" and self.prediction_type != "velocity":
            raise MiaError(
                f"finetune.loss=clean belongs to flow matching, and this model predicts "
                f"{self.prediction_type}: use finetune.loss=native."
            )
        self.schedule = copy.deepcopy(target.schedule).train()  # moves with this module
        null, call = target.embed([""]), target.predictor.call
        self.objective = Objective(call, self.schedule, self.prediction_type, null, recipe)
        self.timesteps = target.timesteps
        self.validated_at = validation_timesteps(self.timesteps)
        self.train_loss = MeanMetric()
        self.train_loss.persistent(True)  # a resumed run reports the mean of all its steps
        self.val_loss = nn.ModuleDict({name: MeanMetric() for name in self.validation})
        self.history: list[dict[str, float]] = []
        self.filters, self.draws = setup.row_filters, setup.row_draws
        steps = getattr(self.schedule, "train_steps", self.timesteps)
        self.proxy: Proxy | None = None
        if setup.proxy is not None:
            self.proxy = Proxy(setup.proxy, members, nonmembers, recipe, steps)
        self.proxy_state: dict[str, Any] | None = None  # of a checkpoint, until training starts
        self.records = DefenceRecords(setup.drops_rows, self.proxy is not None)

    @property
    def result(self) -> nn.Module:
        """The weights to attack: the average where there is one."""
        if self.ema is not None:
            return self.ema
        bare = getattr(self.unet, "_module", self.unet)  # of Opacus' wrapper
        assert isinstance(bare, nn.Module)
        return bare

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        self.batches = StepBatches(
            self.training_rows,
            self.recipe,
            getattr(self.schedule, "train_steps", self.timesteps),
            trainer.global_rank,
            trainer.world_size,
            trainer.global_step,
            self.private is not None,
            self.views.of_step if self.views is not None else None,
        )
        return DataLoader(self.batches, batch_size=None)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        size = max(1, self.recipe.batch_size // self.recipe.accumulate)
        return [
            DataLoader(ValidationRows(rows, self.recipe.seed, self.validated_at), batch_size=size)
            for rows in self.validation.values()
        ]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | None:
        if self.proxy is not None:
            self.records.proxy_was_right(self.proxy.learn(self._errors_of, self.global_step))
        text = self.objective.text(self.training_rows.cond, batch["text"], batch["drop"])
        noised, t = self.objective.noised(self._latents(batch), batch["t"], batch["eps"])
        output = self.objective.output(self.unet, noised, t, text)
        errors = self.objective.errors(output, noised)
        losses = errors.flatten(1).mean(1)
        ids = [self.training_rows.sample_id[i] for i in batch["row"].tolist()]
        require_losses(losses.detach(), ids, "training loss", self.global_step, self.recipe)
        loss = (losses * batch["weight"]).mean()
        if self.training_setup.drops_rows:
            kept = self._kept(output, noised, t, batch) & self._drawn(batch)
            self.records.rows_kept(kept)
            if not bool(kept.any()):
                return None  # no weight changes
            loss = losses[kept].mean()
            errors = errors[kept]
        self.train_loss.update(loss.detach())
        self.log("train_loss", loss.detach())
        if self.proxy is not None:
            loss = self.proxy.objective(loss, errors, self.global_step)
        return loss

    @torch.no_grad()
    def _kept(
        self, output: Tensor, noised: Noised, t: Tensor, batch: Mapping[str, Tensor]
    ) -> Tensor:
        """(B,) rows that every filter keeps: one more evaluation, under the empty caption."""
        kept = torch.ones_like(batch["drop"])
        if not self.filters:
            return kept
        empty = self.objective.text(self.training_rows.cond, batch["text"], kept)
        null = self.objective.output(self.unet, noised, t, empty)
        with_caption, without = (
            implied_noise(one, noised, self.prediction_type) for one in (output, null)
        )
        for one in self.filters:
            kept = kept & one.kept(with_caption, without)
        return kept

    def _drawn(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(B,) rows that are not left out at random."""
        kept = torch.ones_like(batch["drop"])
        draw = keyed_generator(self.recipe.seed, "rows left out", self.global_step)
        for one in self.draws:
            kept = kept & one.drawn(len(kept), draw).to(kept.device)
        return kept

    def _errors_of(self, rows: EncodedRows, batch: Mapping[str, Tensor]) -> Tensor:
        """Squared errors (B, *latent) on clean latents under the data's own captions."""
        text = self.objective.text(rows.cond, batch["text"], batch["drop"])
        z0 = rows.z0[batch["view"].cpu()].to(self.device)
        noised, t = self.objective.noised(z0, batch["t"], batch["eps"])
        output = self.objective.output(self.unet, noised, t, text)
        return self.objective.errors(output, noised)

    def on_train_start(self) -> None:
        if self.proxy is not None:
            if self.proxy_state is not None:
                self.proxy.load_state_dict(self.proxy_state)
            self.proxy.to(self.device)

    def on_fit_start(self) -> None:
        if self.training_setup.drops_rows:  # a step that keeps no row has no loss, on purpose
            warnings.filterwarnings("ignore", message="`training_step` returned `None`")
        codec = self.codec[0]
        if self.views is not None and isinstance(codec, nn.Module):
            codec.to(self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.drops_activations:  # which is drawn from torch's own generator: keyed, to resume
            place = self.global_step, batch_idx % self.recipe.accumulate, self.global_rank
            draw = keyed_generator(self.recipe.seed, "dropout", *place)
            torch.manual_seed(int(draw.integers(2**63)))
        if self.private is not None:
            optimizer = self.optimizers(use_pl_optimizer=False)
            assert isinstance(optimizer, torch.optim.Optimizer)
            self.private.reseed(optimizer, self.recipe.seed, self.global_step)

    def validation_step(
        self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        name = list(self.validation)[dataloader_idx]
        rows = self.validation[name]
        index = batch["row"]
        text = self.objective.text(rows.cond, index, torch.zeros_like(index, dtype=torch.bool))
        z0 = rows.z0[index.cpu()].to(self.device)
        for i, timestep in enumerate(self.validated_at):
            t = torch.full_like(index, timestep)
            losses = self.objective.losses(self.result, z0, t, batch["eps"][:, i], text)
            ids = [rows.sample_id[row] for row in index.tolist()]
            what = f"validation loss ({name})"
            require_losses(losses, ids, what, self.global_step, self.recipe)
            metric = self.val_loss[name]
            assert isinstance(metric, MeanMetric)
            metric.update(losses)

    def on_validation_epoch_end(self) -> None:
        row = {
            "step": float(self.global_step),
            "epoch": self.global_step * self.recipe.batch_size / len(self.training_rows.sample_id),
            "train_loss": float(self.train_loss.compute())
            if self.train_loss.update_called
            else 0.0,
        }
        for name, metric in self.val_loss.items():
            assert isinstance(metric, MeanMetric)
            row[f"val_{name}"] = float(metric.compute())
            metric.reset()
        self.train_loss.reset()
        self.history.append(row | self.records.since_validation())
        self.log_dict({name: row[name] for name in row if name.startswith("val_")})

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Not in half precision, whose scaler meets infinite gradients by design and skips them."""
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:
            rows = self.batches.step(self.global_step)["row"].tolist()
            ids = [self.training_rows.sample_id[i] for i in rows]
            require_gradients(self.unet, self.global_step, ids, self.recipe)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The average follows at once: whoever saves this step's weights sees it."""
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            step = self.global_step + 1  # Lightning counts it when this hook returns
            update_average(self.ema, self.unet, self.recipe.ema_decay or 0.0, step)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = make_optimizer(self.unet, self.recipe)
        if self.private is not None:
            optimizer = self.private.wrap(optimizer, self.training_setup.context)
        warmup = max(1, self.recipe.warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda s: min(1.0, (s + 1) / warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What changes: trained weights and their average. Frozen ones are the base's."""
        checkpoint["history"] = self.history
        if self.proxy is not None:
            checkpoint["proxy"] = self.proxy.state_dict()
        frozen = {f"unet.{name}" for name, p in self.unet.named_parameters() if not p.requires_grad}
        frozen |= {f"ema.{name.removeprefix('unet.')}" for name in frozen}
        checkpoint["state_dict"] = {
            name: value for name, value in checkpoint["state_dict"].items() if name not in frozen
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])
        self.proxy_state = checkpoint.get("proxy")

    def _latents(self, batch: Mapping[str, Tensor]) -> Tensor:
        if self.views is not None:
            z0 = self.codec[0].encode(batch["image"])
        else:
            z0 = self.training_rows.z0[batch["view"].cpu()].to(self.device)
        return z0.contiguous()  # autoencoders answer channels last, which Opacus cannot read
