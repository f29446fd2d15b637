"""Options of the commands that talk to W&B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mia_bench.config.arguments import outputs_of, parse, parse_bool
from mia_bench.config.schema import LoggerOptions

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


def options_of(words: Sequence[str], usage: str) -> Options:
    """Raises MiaError for an unknown word; `logger.` before one is understood."""
    found = parse([word.removeprefix("logger.") for word in words], KNOWN, usage)
    logger = LoggerOptions(found.get("wandb", ["online"])[0])
    logger.entity = found.get("entity", [None])[0]
    logger.project = found.get("project", [logger.project])[0]
    return Options(outputs_of(found), logger, parse_bool(found, "again"))
