"""A predict pass: the features of several attacks, extracted together from the rows of one model.

Attacks of one pass share equal queries. Each rank, or each process that shares the batches of a
pass, writes shards of its own, by sample id; a killed pass continues with the rows that no shard
holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mia_bench.attacks import FeatureExtractor
from mia_bench.config.schema import TrainerOptions
from mia_bench.data.pictures.loader import cut, loader
from mia_bench.data.source import Item
from mia_bench.extraction.module import AttackModule
from mia_bench.extraction.shard_writer import Writer
from mia_bench.extraction.shards import finished
from mia_bench.extraction.tasks import Tasks
from mia_bench.storage import layout
from mia_bench.target import Target
from mia_bench.utils.lightning_tools import RowProgress, SigtermHandler, make_trainer

Destinations = Mapping[str, tuple[FeatureExtractor, Path]]
"""Attacks and the folders of their shards, by name."""


def run_pass(
    target: Target,
    attacks: Destinations,
    items: Sequence[Item],
    resolution: int,
    batch_size: int,
    options: TrainerOptions,
    label: str,
) -> None:
    """Write the missing feature shards of `items` for every (attack, folder).

    Batches are cut before finished rows are left out, so that a resumed pass has the same ones.
    """
    done = _finished(attacks)
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


def _finished(attacks: Destinations) -> dict[str, set[str]]:
    folders = {name: folder for name, (_, folder) in attacks.items()}
    for folder in folders.values():
        (folder / layout.SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
    return finished(folders)


# --- a pass whose batches several processes share -------------------------------------------------


@dataclass(frozen=True)
class Outstanding:
    """What no shard of a pass holds, as one process finds it before several go on with it.

    `batches`: missing rows by the number of the batch, in the order in which `cut` makes batches;
    `done`: the rows of these batches that an attack has all the same, where it has any.
    """

    batches: dict[int, int]
    done: dict[str, set[str]]

    @property
    def rows(self) -> int:
        return sum(self.batches.values())


def outstanding(attacks: Destinations, sample_ids: Sequence[str], batch_size: int) -> Outstanding:
    """What the shards of `attacks` lack of a pass over `sample_ids`."""
    done = _finished(attacks)
    done_by_all = set.intersection(*done.values())
    batches: dict[int, int] = {}
    waiting: set[str] = set()
    for start in range(0, len(sample_ids), batch_size):
        batch = sample_ids[start : start + batch_size]
        missing = sum(sid not in done_by_all for sid in batch)
        if missing:
            batches[start // batch_size] = missing
            waiting.update(batch)
    return Outstanding(batches, {name: ids & waiting for name, ids in done.items()})


def run_shared_pass(
    target: Target,
    attacks: Destinations,
    items: Sequence[Item],
    resolution: int,
    batch_size: int,
    options: TrainerOptions,
    label: str | None,
    left: Outstanding,
    tasks: Tasks,
    number: int,
) -> None:
    """Write the shards of those batches of pass `number` that `tasks` gives to this process.

    Args:
        label: of a progress bar that shows what all processes have taken; None: no bar.
    """

    def taken() -> int:
        return sum(left.batches[batch] for batch in tasks.taken(number))

    shown = [] if label is None else [RowProgress(label, left.rows, taken)]
    trainer = make_trainer(options, [*shown, SigtermHandler()])
    with Writer() as writer:
        module = AttackModule(target, attacks, left.done, writer)
        order = tasks.of(number)
        batches = loader(cut(items, batch_size), resolution, options, target.store, order)
        trainer.predict(module, batches, return_predictions=False)
