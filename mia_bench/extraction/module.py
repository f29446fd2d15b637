"""The LightningModule whose predict step extracts the features of several attacks from a batch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from mia_bench.attacks import Access, FeatureExtractor
from mia_bench.extraction.shard_writer import Writer
from mia_bench.extraction.shards import SIBLINGS_FIELD, Cost
from mia_bench.storage import layout
from mia_bench.storage.feature_table import Table
from mia_bench.target import Batch, Target
from mia_bench.utils.errors import MiaError


class AttackModule(LightningModule):
    """One predict step = every attack on one batch; features go to each attack's own shards."""

    def __init__(
        self,
        target: Target,
        attacks: Mapping[str, tuple[FeatureExtractor, Path]],
        done: Mapping[str, set[str]],
        writer: Writer,
    ) -> None:
        super().__init__()
        self.target, self.attacks = target, dict(attacks)
        self.done, self.writer = done, writer
        # of several ranks, one may have no rows left
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> Batch:
        return batch.to(device)

    def predict_step(self, batch: Batch, batch_idx: int) -> int:
        """Hand this batch's shards to the writer; Lightning gets the number of rows alone."""
        new = {
            name: [i for i, sid in enumerate(batch.sample_id) if sid not in self.done[name]]
            for name in self.attacks
        }
        extracted = {name: self._extract(name, batch) for name, rows in new.items() if rows}
        shards = {
            name: f"{self.global_rank:03d}-{batch.sample_id[new[name][0]][-12:]}.parquet"
            for name in extracted
        }
        # only once all attacks are done, and with the names of all shards: see `finished`
        for name, (table, cost) in extracted.items():
            note = {"cost": vars(cost), SIBLINGS_FIELD: shards}
            path = self.attacks[name][1] / layout.SHARDS_FOLDER / shards[name]
            self.writer.write(path, table.take(new[name]), note)
        self.target.forget()
        return len(batch)

    def _features(self, name: str, attack: FeatureExtractor, batch: Batch) -> dict[str, Tensor]:
        try:
            return attack.features(self.target, batch)
        except ValueError as error:  # a query that this model cannot answer, e.g. of its timestep
            attack_name = name.partition("-")[0]
            raise MiaError(
                f"attack {attack_name}: {error}. Change attack.{attack_name} to fit it."
            ) from error

    def _cause(self) -> str:
        """Why features may not be finite, from what is known of the model."""
        empty = (self.target.a == 0).nonzero().flatten().tolist()
        if empty:
            return (
                f"The model's schedule ends in pure noise (a = 0 at t={empty[0]}: "
                "rescale_betas_zero_snr), where dividing by a has no result: ask at smaller "
                "timesteps. Otherwise the model may have diverged while fine-tuning."
            )
        return "The model may have diverged in training: see its train.csv, or lower finetune.lr."

    def _extract(self, name: str, batch: Batch) -> tuple[Table, Cost]:
        """Features of one attack, in its own gradient mode, and what they cost."""
        attack, before, began = self.attacks[name][0], self.target.queries.copy(), time.monotonic()
        self.target.start_attack()
        with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
            features = self._features(name, attack, batch)
        arrays = {key: value.detach().float().cpu().numpy() for key, value in features.items()}
        spent = self.target.queries - before
        cost = Cost(time.monotonic() - began, len(batch), spent)
        for key, values in arrays.items():
            if not np.isfinite(values).all():
                bad = ~np.isfinite(values.reshape(len(batch), -1)).all(axis=1)
                ids = ", ".join(np.array(batch.sample_id)[bad][:8])
                raise MiaError(
                    f"attack {name}: feature '{key}' is not finite for {ids}. {self._cause()}"
                )
        return Table(batch.sample_id, arrays), cost
