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
from mia_bench.tracking.records import Entry, attack_entry, finetune_entry, report_entry
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import say


def sync(options: Options) -> int:
    """Send, say what was sent; how many runs are left because of an error."""
    found = list(entries(options.outputs))
    sent, failed = mirror_all(found, options.outputs, options.logger, options.again)
    say(f"W&B: {len(found)} runs in {options.outputs}, {sent} sent, {failed} not sent")
    return failed


def entries(outputs: Path) -> Iterator[Entry]:
    """Everything finished; what cannot be read is named and left out."""
    cells = sorted(p.parent for p in outputs.glob(f"runs/*/*/*/{MANIFEST}"))
    targets = {cell.parent.parent.name: None for cell in cells}
    for folder in sorted(p.parent for p in outputs.glob(f"targets/*/{MANIFEST}")):
        yield from _readable(finetune_entry, folder, outputs)
    for folder in cells:
        yield from _readable(attack_entry, folder, outputs)
    for target in targets:
        yield from _readable(report_entry, target, outputs)


def _readable(
    make: Callable[[Any, Path], Entry], what: Path | str, outputs: Path
) -> Iterator[Entry]:
    try:
        yield make(what, outputs)
    except MiaError as error:
        say(f"left out: {error}", error=True)
