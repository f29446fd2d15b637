"""The first page of help: what this is, the most used commands, all of them, and more."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping
from pathlib import Path

import mia_bench
from mia_bench.config.command_spec import HELP_COLUMNS, summary
from mia_bench.storage.command import PROGRAM

COMMON = (
    ("mia-bench", "the default run: CLiD on the tiny model"),
    ("mia-bench attack=all plan_only=true", "what a run would do and cost, then stop"),
    ("mia-bench list attacks", "the choices; also models, data, ..."),
    ("mia-bench status", "what is finished, half done or failed"),
    ("mia-bench report", "the finished runs as one HTML page"),
)
ELSEWHERE = (
    ("mia-bench COMMAND --help", "words and keys of a command"),
    ("mia-bench run --help", "Hydra's page: groups, flags, the configuration"),
    ("docs/commands.md", "every command; README.md for the whole"),
)
INDENT = "  "


def sentence(module: str) -> str:
    """The first sentence of a command, from the docstring of its file, which is not imported."""
    root, *rest = module.split(".")
    assert root == mia_bench.__name__
    path = Path(mia_bench.__path__[0], *rest).with_suffix(".py")
    return summary(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")


def overview(commands: Mapping[str, str]) -> str:
    """The page. Args: commands: module by name."""
    purpose = " ".join((mia_bench.__doc__ or "").split("\n\n")[0].split())
    width = max(map(len, commands)) + 2
    lines = [
        f"usage: {PROGRAM} [COMMAND] [WORD ...] [KEY=VALUE ...]",
        "   or: python -m mia_bench [COMMAND] [WORD ...] [KEY=VALUE ...]",
        "",
        *textwrap.wrap(purpose, HELP_COLUMNS),
        "",
        "most used:",
        *_columns(COMMON),
        "",
        "commands (run, if none is named):",
    ]
    for name, module in commands.items():
        indent = " " * (len(INDENT) + width)
        text = f"{INDENT}{name:<{width}}{sentence(module)}"
        lines += textwrap.wrap(text, HELP_COLUMNS, subsequent_indent=indent)
    return "\n".join([*lines, "", "more:", *_columns(ELSEWHERE)])


def _columns(rows: tuple[tuple[str, str], ...]) -> list[str]:
    width = max(len(name) for name, _ in rows) + 2
    return [f"{INDENT}{name:<{width}}{text}" for name, text in rows]
