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

from mia_bench.config import LoggerOptions, nearest
from mia_bench.entries import Entry, attack_entry, finetune_entry, report_entry
from mia_bench.errors import MiaError
from mia_bench.plain import say
from mia_bench.status import outputs_of
from mia_bench.store import MANIFEST
from mia_bench.tracking import mirror_all

WORDS = ("paths.outputs", "wandb", "project", "entity", "again")


@dataclass(frozen=True)
class Options:
    outputs: Path
    logger: LoggerOptions
    again: bool


def main(words: Sequence[str] | None = None) -> None:
    try:
        options = parse(sys.argv[1:] if words is None else words)
        left = sync(options)
    except MiaError as error:
        say(f"error: {error}", error=True)
        sys.exit(1)
    sys.exit(1 if left else 0)


def parse(words: Sequence[str]) -> Options:
    """Raises MiaError for an unknown word; `logger.` before one is understood."""
    given = dict(word.removeprefix("logger.").partition("=")[::2] for word in words)
    for word in given:
        if word not in WORDS:
            raise MiaError(f"'{word}' is not known here. {nearest(word, WORDS)}")
    outputs = outputs_of([f"{k}={v}" for k, v in given.items() if k == "paths.outputs"])
    logger = LoggerOptions(given.get("wandb", "online"), entity=given.get("entity") or None)
    logger.project = given.get("project", logger.project)
    return Options(outputs, logger, given.get("again", "false").lower() == "true")


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
