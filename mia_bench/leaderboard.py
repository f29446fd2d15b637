"""`python -m mia_bench.leaderboard`: a leaderboard that others can join, as a static page.

`add` takes scores of any attack on any target whose split is published, one file with ids as
`evaluate` reads it, or one file of members and one of non-members without ids, and a card that says
what they are of; it computes every metric from the scores and makes the page again. `page` makes
the page alone. Figures that papers publish stand beside measured ones and are never ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Option, Positional
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import nearest

ACTIONS = ("add", "page")
COMMAND = Command(
    "leaderboard",
    "mia_bench.leaderboard",
    __doc__,
    (Option("folder", "that holds entries and index.html", "FOLDER", "leaderboard"),),
    Positional("WORD", "add SCORES CARD, add MEMBERS NONMEMBERS CARD, or page", required=True),
    examples=(
        "mia-bench leaderboard add scores.csv card.yaml",
        "mia-bench leaderboard add members.npy nonmembers.npy card.yaml",
        "mia-bench leaderboard page folder=site/leaderboard",
    ),
)


def run(words: Sequence[str]) -> Path:
    """Add an entry where that is asked for, and write the page; its path.

    Raises:
        MiaError: an unknown action, too few files, or what `leaderboard_entries.add` raises.
    """
    arguments = parse(COMMAND, words)
    from mia_bench.display.metric_columns import metric_text
    from mia_bench.evaluation.leaderboard_entries import add, read_entries
    from mia_bench.report.leaderboard_page import write

    action, *files = arguments.words
    folder = arguments.path("folder")
    if action not in ACTIONS:
        raise MiaError(f"there is no action '{action}'. {nearest(action, ACTIONS)}")
    if action == "page" and files:
        raise MiaError(f"page takes no files: {', '.join(files)} were given.")
    if action == "add":
        if len(files) < 2:
            raise MiaError("files are missing: mia-bench leaderboard add scores.csv card.yaml")
        *scores, card = map(Path, files)
        entry = add(folder, scores, card)
        echo(
            f"{entry.card.attack} on {entry.card.target}: AUC {metric_text(entry.metrics, 'auroc')}"
        )
    entries, problems = read_entries(folder)
    for problem in problems:
        echo(f"note: {problem}")
    return write(folder, entries, problems)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, lambda arguments: echo(f"leaderboard: {run(arguments)}"), words)


if __name__ == "__main__":
    main()
