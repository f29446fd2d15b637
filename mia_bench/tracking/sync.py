"""`python -m mia_bench.sync [paths.outputs=...] [wandb=online] [project=...] [entity=...]`

Sends to W&B what was not sent yet: offline runs, and whatever finished while the network was away.
Twice sends nothing twice; `again=true` sends everything once more, under the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mia_bench.storage.artifacts import MANIFEST
from mia_bench.tracking.mirror import mirror_all
from mia_bench.tracking.options import Options
from mia_bench.tracking.records import WandbRecord, attack_record, finetune_record, report_record
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo


def sync(options: Options) -> int:
    """Send, say what was sent; how many runs are left because of an error."""
    found = list(entries(options.outputs))
    sent, failed = mirror_all(found, options.outputs, options.logger, options.again)
    echo(f"W&B: {len(found)} runs in {options.outputs}, {sent} sent, {failed} not sent")
    return failed


def entries(outputs: Path) -> Iterator[WandbRecord]:
    """Everything finished; what cannot be read is named and left out."""
    runs = sorted(p.parent for p in outputs.glob(f"runs/*/*/*/{MANIFEST}"))
    targets = {run.parent.parent.name: None for run in runs}
    for folder in sorted(p.parent for p in outputs.glob(f"targets/*/{MANIFEST}")):
        yield from _readable(finetune_record, folder, outputs)
    for folder in runs:
        yield from _readable(attack_record, folder, outputs)
    for target in targets:
        yield from _readable(report_record, target, outputs)


def _readable(
    make: Callable[[Any, Path], WandbRecord], what: Path | str, outputs: Path
) -> Iterator[WandbRecord]:
    try:
        yield make(what, outputs)
    except MiaError as error:
        echo(f"left out: {error}", error=True)
