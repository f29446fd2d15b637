"""docs/commands.md is what the commands declare, and every command of the package is among them."""

from __future__ import annotations

from pathlib import Path

from mia_bench.cli.commands_page import page
from mia_bench.cli.dispatch import COMMANDS

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_of_the_commands() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert text == page(), "run: mia-bench list commands format=markdown > docs/commands.md"


def test_every_command_file_has_a_word() -> None:
    package = ROOT / "mia_bench"
    files = [path for path in package.glob("*.py") if not path.stem.startswith("__")]
    folders = list(package.glob("*/__main__.py"))
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts) for p in [*files, *folders]}
    assert modules <= set(COMMANDS.values())
