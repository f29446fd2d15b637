"""Options of the commands that talk to W&B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mia_bench.config.arguments import OUTPUTS, outputs_of, parse
from mia_bench.config.command_spec import Command, Option
from mia_bench.config.schema import LoggerOptions

WANDB_OPTIONS = (
    OUTPUTS,
    Option("wandb", "online, offline or disabled", "MODE", "online"),
    Option("project", "of W&B", "NAME", LoggerOptions().project),
    Option("entity", "user or team of W&B; where not given, your own", "NAME"),
)


@dataclass(frozen=True)
class Options:
    outputs: Path
    logger: LoggerOptions
    again: bool


def options_of(command: Command, words: Sequence[str]) -> Options:
    """Raises MiaError for a word `command` does not take; `logger.` before one is understood."""
    arguments = parse(command, [word.removeprefix("logger.") for word in words])
    logger = LoggerOptions(arguments.text("wandb"), project=arguments.text("project"))
    logger.entity = arguments.text("entity") if "entity" in arguments else None
    again = "again" in arguments and arguments.flag("again")
    return Options(outputs_of(arguments), logger, again)
