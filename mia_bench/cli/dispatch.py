"""Which command the first word names: the entry of `mia-bench` and of `python -m mia_bench`.

Hydra's overrides hold an `=` and its flags begin with `-`, so a bare first word can only be a
command. Nothing heavy is imported before it is known which one runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from mia_bench.storage.command import PROGRAM
from mia_bench.utils.terminal import told_of_ctrl_c

COMMANDS = {
    "run": "mia_bench.cli.run",
    "list": "mia_bench.cli.listing",
    "data": "mia_bench.data.__main__",
    "status": "mia_bench.status",
    "report": "mia_bench.report.__main__",
    "evaluate": "mia_bench.evaluate",
    "audit": "mia_bench.audit.__main__",
    "leaderboard": "mia_bench.leaderboard",
    "dataset-test": "mia_bench.dataset_test",
    "verify": "mia_bench.verify",
    "seeds": "mia_bench.seeds",
    "mitigations": "mia_bench.mitigation_study",
    "trajectory": "mia_bench.trajectory",
    "noise-levels": "mia_bench.noise_levels",
    "votes": "mia_bench.studies.votes_command",
    "sync": "mia_bench.sync",
    "dashboard": "mia_bench.dashboard",
    "bench": "mia_bench.bench.__main__",
    "honesty": "mia_bench.honesty.__main__",
    "pretrain": "mia_bench.pretrain.__main__",
}
"""Module of every command, in the order --help lists them; its `main` takes the other words."""

OTHER_GROUPS = ("trainer", "logger", "calibration")  # of conf/, beside those that are listed
HELP_WORDS = ("help", "-h", "--help")
VERSION_WORDS = ("-V", "--version")
USAGE_ERROR = 2  # exit status for a word that names no command


def main(words: Sequence[str] | None = None) -> None:
    """Start the command that `words` name, the command line's unless given; without one, a run."""
    words = sys.argv[1:] if words is None else words
    first = words[0] if words else ""
    if first in HELP_WORDS:
        _help(words[1:])
    elif first in VERSION_WORDS:
        _version()
    elif first in COMMANDS:
        start(first, words[1:])
    elif _belongs_to_run(first):
        start("run", words)
    else:
        _refuse(first, words[1:])


def start(name: str, words: Sequence[str]) -> None:
    """Run the command `name` in this process; Ctrl-C ends it with one line."""
    with told_of_ctrl_c():
        import_module(COMMANDS[name]).main(words)


def _belongs_to_run(word: str) -> bool:
    """Whether `word` is an override or a flag of Hydra's (or none at all)."""
    return not word or "=" in word or word.startswith(("-", "~", "+"))


def _help(words: Sequence[str]) -> None:
    """The page of all commands, or that of the one named."""
    if not words:
        from mia_bench.cli.help_page import overview
        from mia_bench.utils.terminal import echo

        echo(overview(COMMANDS))
    elif words[0] in COMMANDS:
        start(words[0], ["--help"])
    else:
        _refuse(words[0])


def _version() -> None:
    """The version of the package that is installed."""
    from importlib import metadata

    from mia_bench.utils.terminal import echo

    try:
        echo(f"mia_bench {metadata.version('mia_bench')}")
    except metadata.PackageNotFoundError:
        echo("mia_bench, from a checkout that is not installed")


def _refuse(word: str, following: Sequence[str] = ()) -> None:
    """One message with what was probably meant, and exit status 2."""
    from mia_bench.cli.catalogue import groups_with
    from mia_bench.config.guesses import LISTED, command_meant
    from mia_bench.config.schema import Root
    from mia_bench.utils.terminal import echo

    groups, meant = groups_with(word), command_meant(word, [*COMMANDS, "help"])
    value = following[0] if following and "=" not in following[0] else "..."
    problem = f"there is no command '{word}'."
    if word in (*LISTED, *OTHER_GROUPS):
        problem += f" Did you mean {word}={value}?"
    elif groups:
        problem += f" Did you mean {groups[0]}={word.lower()}?"
    elif word.partition(".")[0] in Root.__dataclass_fields__ and not meant.startswith("Did"):
        problem = f"'{word}' has no value: write {word}={value} for a run."
    else:
        problem += f" {meant}"
    echo(f"error: {problem} See `{PROGRAM} --help`.", error=True)
    sys.exit(USAGE_ERROR)
