"""`python -m mia_bench.verify [RUN ...]`: stored runs computed again; names exactly what differs.

RUN is a run's folder, its name, or its key (the first six digits will do); without one, every run
of paths.outputs is checked. Scores are computed again from the stored features with the stored
configuration, metrics from the stored scores; files, split, roles, models, keys and versions are
compared. No model is loaded, nothing is fetched or written. Exit status 1 where something differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mia_bench.config.arguments import OUTPUTS, parse, run_command
from mia_bench.config.command_spec import FLAG, Command, Option, Positional
from mia_bench.storage.index import find, runs, unfinished
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

if TYPE_CHECKING:
    from mia_bench.verification.result import Check


COMMAND = Command(
    "verify",
    "mia_bench.verify",
    __doc__,
    (OUTPUTS, Option("all", "print what agrees as well, as for a single RUN", FLAG, "false")),
    Positional("RUN", "folder, name or key of a finished run; none: every run"),
    examples=("mia-bench verify", "mia-bench verify 73e38d", "mia-bench verify all=true"),
)


def run(words: Sequence[str]) -> None:
    """Check, print, and exit with status 1 when something differs."""
    arguments = parse(COMMAND, words)
    named, outputs = arguments.words, arguments.path("paths.outputs")
    folders = [folder for word in named for folder in find(word, outputs)]
    every = not named
    if every:
        folders = runs(outputs)
    if not folders:
        raise MiaError(f"{outputs} holds no run: nothing was run there yet, or it is elsewhere.")
    differ = half = 0
    for folder in dict.fromkeys(folders):
        reason = unfinished(folder)
        if reason is not None:
            half += 1
            _print([f"{folder}: {reason}"])
            continue
        found = list(check(folder))
        differ += any(c.state == "DIFFERS" for c in found)
        _print(lines(folder, found, arguments.flag("all") or len(folders) == 1))
    whole = len(dict.fromkeys(folders)) - half
    echo(f"{whole} runs checked: {whole - differ} agree, {differ} differ; {half} half written")
    if differ or (half and not every):
        sys.exit(1)


def check(folder: Path) -> Iterator[Check]:
    """Every check of a finished run."""
    from mia_bench.verification.checks import checks
    from mia_bench.verification.stored_run import StoredRun

    return checks(StoredRun(folder))


def lines(folder: Path, found: Sequence[Check], all_of_them: bool) -> Iterator[str]:
    """What to print about one run: a line per check, or only those that do not simply agree."""
    states = [c.state for c in found]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    yield f"{folder}: {counts}"
    width = max(len(c.name) for c in found)
    for c in found:
        if all_of_them or c.state == "DIFFERS":
            yield f"  {c.name:<{width}}  {c.state:<11}  {c.said}"


def _print(said: Iterable[str]) -> None:
    from mia_bench.utils.text import printable

    for line in said:
        echo(printable(line))


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


if __name__ == "__main__":
    main()
