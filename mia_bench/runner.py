"""Scoring: attacks as a LightningModule predict step, shards by sample id, one merged table.

A pass asks a model about many rows with several attacks at once, so that equal questions are asked
once. Each rank writes shards of its own; a killed pass continues with the rows no shard holds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from mia_bench.attacks import Access, Attack
from mia_bench.config import TrainerOptions
from mia_bench.data.source import Item
from mia_bench.errors import MiaError
from mia_bench.features import Table, read_table
from mia_bench.pictures import loader
from mia_bench.progress import RowProgress
from mia_bench.target import Batch, Target
from mia_bench.writer import Writer

SHARDS = "shards"


@dataclass
class Cost:
    """What an attack took on the rows of this pass."""

    seconds: float = 0.0
    rows: int = 0
    queries: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, float]:
        per_row = max(1, self.rows)
        return {
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "nfe_forward": round(self.queries["asked"] / per_row, 4),
            "nfe_paid": round(self.queries["forward"] / per_row, 4),
            "nfe_backward": round(self.queries["backward"] / per_row, 4),
            "text_embeddings": round(self.queries["embed"] / per_row, 4),
        }


class AttackModule(LightningModule):
    """One predict step = every attack on one batch; features go to each attack's own shards."""

    def __init__(
        self, target: Target, attacks: Mapping[str, tuple[Attack, Path]], writer: Writer
    ) -> None:
        super().__init__()
        self.writer = writer
        self.target = target
        self.attacks = dict(attacks)
        self.done = {name: finished_ids(folder) for name, (_, folder) in attacks.items()}
        self.cost = {name: Cost() for name in attacks}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> Batch:
        return batch.to(device)

    def predict_step(self, batch: Batch, batch_idx: int) -> int:
        """Hand over this batch's shards; the number of rows is all that Lightning gets to see."""
        for name, (attack, folder) in self.attacks.items():
            new = [i for i, sid in enumerate(batch.sample_id) if sid not in self.done[name]]
            if new:
                table = self._ask(name, attack, batch).take(new)
                shard = f"{self.global_rank:03d}-{table.sample_id[0][-12:]}.parquet"
                self.writer.write(folder / SHARDS / shard, table)
        self.target.forget()
        return len(batch)

    def _features(self, name: str, attack: Attack, batch: Batch) -> dict[str, Tensor]:
        try:
            return attack.features(self.target, batch)
        except ValueError as error:  # a question this model has no answer to, e.g. its timestep
            word = name.partition("-")[0]
            raise MiaError(f"attack {word}: {error}. Change attack.{word} to fit it.") from error

    def _ask(self, name: str, attack: Attack, batch: Batch) -> Table:
        cost, before, began = self.cost[name], self.target.queries.copy(), time.monotonic()
        self.target.start_attack()
        with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
            features = self._features(name, attack, batch)
        arrays = {key: value.detach().float().cpu().numpy() for key, value in features.items()}
        cost.seconds += time.monotonic() - began
        cost.rows += len(batch)
        cost.queries.update(self.target.queries - before)
        for key, values in arrays.items():
            if not np.isfinite(values).all():
                bad = ~np.isfinite(values.reshape(len(batch), -1)).all(axis=1)
                ids = ", ".join(np.array(batch.sample_id)[bad][:8])
                raise MiaError(
                    f"attack {name}: feature '{key}' is not finite for {ids}. The model may have "
                    "diverged while fine-tuning: see its train.csv, or lower finetune.lr."
                )
        return Table(batch.sample_id, arrays)


def finished_ids(folder: Path) -> set[str]:
    """Sample ids that an earlier, interrupted pass already wrote; unreadable shards are dropped."""
    done: set[str] = set()
    for path in sorted((folder / SHARDS).glob("*.parquet")):
        try:
            done.update(read_table(path).sample_id)
        except MiaError:
            path.unlink()
    return done


def run_pass(
    target: Target,
    attacks: Mapping[str, tuple[Attack, Path]],
    items: Sequence[Item],
    resolution: int,
    batch_size: int,
    options: TrainerOptions,
    label: str,
) -> dict[str, Cost]:
    """Write the missing feature shards of `items` for every (attack, folder); return their cost."""
    for _, folder in attacks.values():
        (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    with Writer() as writer:
        module = AttackModule(target, attacks, writer)
        everywhere = set.intersection(*module.done.values())
        waiting = [item for item in items if item.sample_id not in everywhere]
        if waiting:
            trainer = _trainer(options, RowProgress(label, len(waiting)))
            mine = waiting[trainer.global_rank :: trainer.world_size]
            batches = loader(mine, resolution, batch_size, options, target.store)
            trainer.predict(module, batches, return_predictions=False)
    if waiting:
        trainer.strategy.barrier()  # the other ranks' shards are there, too
    return module.cost


def _trainer(options: TrainerOptions, progress: RowProgress) -> Trainer:
    return Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=options.strategy,
        precision="32-true",
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[progress],
    )


def merge(folder: Path, sample_id: Sequence[str]) -> Table:
    """The shards of `folder` as one table in the order of `sample_id`, each id exactly once."""
    tables = [read_table(path) for path in sorted((folder / SHARDS).glob("*.parquet"))]
    where = {sid: (table, row) for table in tables for row, sid in enumerate(table.sample_id)}
    written = sum(len(table.sample_id) for table in tables)
    missing = [sid for sid in sample_id if sid not in where]
    if missing or written != len(sample_id):
        raise MiaError(
            f"{folder} holds {written} rows for {len(sample_id)} samples ({len(missing)} missing). "
            "Delete it and run again."
        )
    names = tables[0].features.keys()
    stacked = {
        name: np.stack([where[sid][0].features[name][where[sid][1]] for sid in sample_id])
        for name in names
    }
    return Table(tuple(sample_id), stacked)
