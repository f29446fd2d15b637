"""`python -m mia_bench.sync [paths.outputs=...] [wandb=online] [project=...] [entity=...]`

Sends to W&B what was not sent yet: offline runs, and whatever finished while the network was away.
Twice sends nothing twice; `again=true` sends everything once more, under the same ids.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.arguments import command, parse, yes
from mia_bench.config import LoggerOptions
from mia_bench.entries import Entry, attack_entry, finetune_entry, report_entry
from mia_bench.errors import MiaError
from mia_bench.plain import say
from mia_bench.status import outputs_of
from mia_bench.store import MANIFEST
from mia_bench.tracking import mirror_all

USAGE = "python -m mia_bench.sync [paths.outputs=outputs] [wandb=online] [again=true] ..."
KNOWN = {
    "paths.outputs": "folder that runs write to",
    "wandb": "online, offline or disabled",
    "project": "of W&B (default: mia_bench)",
    "entity": "user or team of W&B (default: your own)",
    "again": "true: send once more what was sent",
}


@dataclass(frozen=True)
class Options:
    outputs: Path
    logger: LoggerOptions
    again: bool


def main(words: Sequence[str] | None = None) -> None:
    command(lambda given: sys.exit(1 if sync(options_of(given, USAGE)) else 0), words=words)


def options_of(words: Sequence[str], usage: str) -> Options:
    """Raises MiaError for an unknown word; `logger.` before one is understood."""
    found = parse([word.removeprefix("logger.") for word in words], KNOWN, usage)
    logger = LoggerOptions(found.get("wandb", ["online"])[0])
    logger.entity = found.get("entity", [None])[0]
    logger.project = found.get("project", [logger.project])[0]
    return Options(outputs_of(found), logger, yes(found, "again"))


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


if __name__ == "__main__":
    main()
