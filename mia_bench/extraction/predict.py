"""A predict pass: the features of several attacks, extracted together from the rows of one model.

Attacks of one pass share equal queries. Each rank writes shards of its own, by sample id; a killed
pass continues with the rows that no shard holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mia_bench.attacks import FeatureExtractor
from mia_bench.config.schema import TrainerOptions
from mia_bench.data.pictures.loader import cut, loader
from mia_bench.data.source import Item
from mia_bench.extraction.module import AttackModule
from mia_bench.extraction.shard_writer import Writer
from mia_bench.extraction.shards import finished
from mia_bench.storage import layout
from mia_bench.target import Target
from mia_bench.utils.lightning_tools import RowProgress, SigtermHandler, make_trainer


def run_pass(
    target: Target,
    attacks: Mapping[str, tuple[FeatureExtractor, Path]],
    items: Sequence[Item],
    resolution: int,
    batch_size: int,
    options: TrainerOptions,
    label: str,
) -> None:
    """Write the missing feature shards of `items` for every (attack, folder).

    Batches are cut before finished rows are left out, so that a resumed pass has the same ones.
    """
    folders = {name: folder for name, (_, folder) in attacks.items()}
    for folder in folders.values():
        (folder / layout.SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
    done = finished(folders)
    done_by_all = set.intersection(*done.values())
    missing_rows = sum(item.sample_id not in done_by_all for item in items)
    if not missing_rows:
        return
    trainer = make_trainer(options, [RowProgress(label, missing_rows), SigtermHandler()])
    own_items = items[trainer.global_rank :: trainer.world_size]
    remaining = [
        rows
        for rows in cut(own_items, batch_size)
        if any(item.sample_id not in done_by_all for item in rows)
    ]
    with Writer() as writer:
        module = AttackModule(target, attacks, done, writer)
        batches = loader(remaining, resolution, options, target.store)
        trainer.predict(module, batches, return_predictions=False)
    trainer.strategy.barrier()  # the other ranks' shards are there, too
