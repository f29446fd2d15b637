"""`python -m mia_bench.sync [paths.outputs=...] [wandb=online] [project=...] [entity=...]`

Sends to W&B what was not sent yet: offline runs, and whatever finished while the network was away.
Twice sends nothing twice; `again=true` sends everything once more, under the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mia_bench.storage.index import model_folders, runs
from mia_bench.tracking.mirror import mirror_all, mode_of
from mia_bench.tracking.options import Options
from mia_bench.tracking.records import WandbRecord, attack_record, finetune_record, report_record
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo


def sync(options: Options) -> int:
    """Send, say what was sent; how many runs are left because of an error.

    Offline nothing leaves this machine, and what is said does not call it sent.
    """
    records = list(entries(options.outputs))
    sent, failed = mirror_all(records, options.outputs, options.logger, options.again)
    done = "recorded offline" if mode_of(options.logger) == "offline" else "sent"
    echo(f"W&B: {len(records)} runs in {options.outputs}, {sent} {done}, {failed} not {done}")
    return failed


def entries(outputs: Path) -> Iterator[WandbRecord]:
    """Everything finished; what cannot be read is named and left out."""
    refs = [ref for ref in runs(outputs) if not ref.is_building]
    for folder in model_folders(outputs):
        yield from _readable(folder.name, partial(finetune_record, folder, outputs))
    for ref in refs:
        if (obstacle := ref.obstacle) is not None:
            echo(f"left out: {ref.place}: {obstacle}", error=True)
            continue
        yield from _readable(ref.place, partial(attack_record, ref))
    for model_key in dict.fromkeys(ref.model_key for ref in refs):
        place = f"report of {model_key}"
        yield from _readable(place, partial(report_record, model_key, outputs))


def _readable(place: str, make: Callable[[], WandbRecord]) -> Iterator[WandbRecord]:
    try:
        yield make()
    except MiaError as error:
        echo(f"left out: {place}: {error}", error=True)
