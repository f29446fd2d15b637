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
from mia_bench.bars import RowProgress
from mia_bench.config import TrainerOptions
from mia_bench.data.source import Item
from mia_bench.ending import Ending
from mia_bench.errors import MiaError
from mia_bench.features import Array, Table, read_note, read_table
from mia_bench.pictures import cut, loader
from mia_bench.plain import say
from mia_bench.ranks import strategy
from mia_bench.target import Batch, Target
from mia_bench.writer import Writer

SHARDS = "shards"


@dataclass
class Cost:
    """What an attack took on some rows."""

    seconds: float = 0.0
    rows: int = 0
    queries: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Cost) -> Cost:
        queries = self.queries + other.queries
        return Cost(self.seconds + other.seconds, self.rows + other.rows, queries)

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
        self,
        target: Target,
        attacks: Mapping[str, tuple[Attack, Path]],
        done: Mapping[str, set[str]],
        writer: Writer,
    ) -> None:
        super().__init__()
        self.target, self.attacks = target, dict(attacks)
        self.done, self.writer = done, writer
        # of several ranks, one may have nothing left to ask
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _: int) -> Batch:
        return batch.to(device)

    def predict_step(self, batch: Batch, batch_idx: int) -> int:
        """Hand over this batch's shards; the number of rows is all that Lightning gets to see."""
        new = {
            name: [i for i, sid in enumerate(batch.sample_id) if sid not in self.done[name]]
            for name in self.attacks
        }
        asked = {name: self._ask(name, batch) for name, rows in new.items() if rows}
        beside = {
            name: f"{self.global_rank:03d}-{batch.sample_id[new[name][0]][-12:]}.parquet"
            for name in asked
        }
        for name, (table, cost) in asked.items():  # together, once all are known: see `finished`
            note = {"cost": vars(cost), "beside": beside}
            path = self.attacks[name][1] / SHARDS / beside[name]
            self.writer.write(path, table.take(new[name]), note)
        self.target.forget()
        return len(batch)

    def _features(self, name: str, attack: Attack, batch: Batch) -> dict[str, Tensor]:
        try:
            return attack.features(self.target, batch)
        except ValueError as error:  # a question this model has no answer to, e.g. its timestep
            word = name.partition("-")[0]
            raise MiaError(f"attack {word}: {error}. Change attack.{word} to fit it.") from error

    def _ask(self, name: str, batch: Batch) -> tuple[Table, Cost]:
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
                    f"attack {name}: feature '{key}' is not finite for {ids}. The model may have "
                    "diverged while fine-tuning: see its train.csv, or lower finetune.lr."
                )
        return Table(batch.sample_id, arrays), cost


def finished(attacks: Mapping[str, Path]) -> dict[str, set[str]]:
    """Sample ids that earlier, interrupted passes wrote, by attack.

    Unreadable shards are dropped. So are those of a batch that a kill left without the shards of
    other attacks of its pass: asked again as a whole, it gives the same bits, because attacks
    share answers and a chunk of another size rounds differently.
    """
    found = {name: _shards(folder) for name, folder in attacks.items()}
    torn = [
        attacks[name] / SHARDS / shard
        for name, shards in found.items()
        for shard, (_, beside) in shards.items()
        if any(other in found and its not in found[other] for other, its in beside.items())
    ]
    for path in torn:
        path.unlink(missing_ok=True)
    return {
        name: {
            sid
            for shard, (ids, _) in shards.items()
            if attacks[name] / SHARDS / shard not in torn
            for sid in ids
        }
        for name, shards in found.items()
    }


def _shards(folder: Path) -> dict[str, tuple[tuple[str, ...], Mapping[str, str]]]:
    """(sample ids, shards of other attacks on the batch) of every shard that can be read."""
    found = {}
    for path in sorted((folder / SHARDS).glob("*.parquet")):
        try:
            found[path.name] = read_table(path).sample_id, read_note(path).get("beside", {})
        except MiaError as error:
            say(f"asked again: {str(error).partition('. ')[0]}", error=True)
            path.unlink(missing_ok=True)
    return found


def run_pass(
    target: Target,
    attacks: Mapping[str, tuple[Attack, Path]],
    items: Sequence[Item],
    resolution: int,
    batch_size: int,
    options: TrainerOptions,
    label: str,
) -> None:
    """Write the missing feature shards of `items` for every (attack, folder).

    Batches are cut before what is done is left out: a resumed pass asks the same ones.
    """
    folders = {name: folder for name, (_, folder) in attacks.items()}
    for folder in folders.values():
        (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    done = finished(folders)
    everywhere = set.intersection(*done.values())
    waiting = sum(item.sample_id not in everywhere for item in items)
    if not waiting:
        return
    trainer = _trainer(options, RowProgress(label, waiting))
    mine = items[trainer.global_rank :: trainer.world_size]
    left = [
        rows
        for rows in cut(mine, batch_size)
        if any(item.sample_id not in everywhere for item in rows)
    ]
    with Writer() as writer:
        module = AttackModule(target, attacks, done, writer)
        batches = loader(left, resolution, options, target.store)
        trainer.predict(module, batches, return_predictions=False)
    trainer.strategy.barrier()  # the other ranks' shards are there, too


def _trainer(options: TrainerOptions, progress: RowProgress) -> Trainer:
    return Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=strategy(options),
        precision="32-true",
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[progress, Ending()],
    )


def merge(folder: Path, sample_id: Sequence[str]) -> tuple[Table, Cost]:
    """The shards of `folder` as one table in the order of `sample_id`, each id exactly once.

    Shards are read one after the other into their rows. The cost is that of all passes that wrote
    them.
    """
    place = {sid: row for row, sid in enumerate(sample_id)}
    stacked: dict[str, Array] = {}
    there, written, cost = np.zeros(len(place), dtype=bool), 0, Cost()
    for path in sorted((folder / SHARDS).glob("*.parquet")):
        table = read_table(path)
        known = [i for i, sid in enumerate(table.sample_id) if sid in place]
        rows = [place[table.sample_id[i]] for i in known]
        for name, values in table.features.items():
            if name not in stacked:
                stacked[name] = np.empty((len(place), *values.shape[1:]), values.dtype)
            stacked[name][rows] = values[known]
        there[rows] = True
        written, cost = written + len(table.sample_id), cost + _cost(path)
    if written != len(place) or not there.all():
        raise MiaError(
            f"{folder} holds {written} rows for {len(place)} samples ({(~there).sum()} missing). "
            "Delete it and run again."
        )
    return Table(tuple(sample_id), stacked), cost


def _cost(path: Path) -> Cost:
    noted = read_note(path).get("cost", {})
    return Cost(noted.get("seconds", 0.0), noted.get("rows", 0), Counter(noted.get("queries", {})))
