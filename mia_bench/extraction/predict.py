"""Scoring: attacks as a LightningModule predict step, shards by sample id, one merged table.

A pass asks a model about many rows with several attacks at once, so that equal questions are asked
once. Each rank writes shards of its own; a killed pass continues with the rows no shard holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mia_bench.attacks import Attack
from mia_bench.config.schema import TrainerOptions
from mia_bench.data.loader import cut, loader
from mia_bench.data.source import Item
from mia_bench.extraction.module import AttackModule
from mia_bench.extraction.shard_writer import Writer
from mia_bench.extraction.shards import SHARDS, finished
from mia_bench.target import Target
from mia_bench.utils.lightning_tools import RowProgress, SigtermHandler, make_trainer


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
    trainer = make_trainer(options, [RowProgress(label, waiting), SigtermHandler()])
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
