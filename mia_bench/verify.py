"""`python -m mia_bench.verify [RUN ...]`: is a stored run what it says? Says exactly what differs.

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

from mia_bench.arguments import command, parse, yes
from mia_bench.errors import MiaError
from mia_bench.plain import say

if TYPE_CHECKING:
    from mia_bench.finding import Check

USAGE = "python -m mia_bench.verify [RUN ...] [paths.outputs=outputs] [all=true]"
KNOWN = {
    "paths.outputs": "where runs are looked for (default: outputs)",
    "all": "true: print what agrees as well; so it is when one run is named",
}
DIGITS = 6  # of a key that name a run


def run(words: Sequence[str]) -> None:
    """Check, print, and exit with status 1 when something differs."""
    named = [word for word in words if "=" not in word and not word.startswith("-")]
    given = parse([word for word in words if word not in named], KNOWN, USAGE)
    outputs = Path(given.get("paths.outputs", ["outputs"])[0])
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
        _print(lines(folder, found, yes(given, "all") or len(folders) == 1))
    whole = len(dict.fromkeys(folders)) - half
    say(f"{whole} runs checked: {whole - differ} agree, {differ} differ; {half} half written")
    if differ or (half and not every):
        sys.exit(1)


def find(word: str, outputs: Path) -> list[Path]:
    """Run folders that `word` names.

    Raises:
        MiaError: none, or a folder that is no run's.
    """
    folder = Path(word)
    if folder.is_dir():
        folder = folder.resolve()
        if len(folder.parents) < 4 or folder.parents[2].name != "runs":
            raise MiaError(
                f"{word} is no run folder: outputs/runs/<model>/<step>/<attack>-<key>. "
                "python -m mia_bench.status lists them."
            )
        return [folder]
    there = _leaves(outputs)
    same = [f for f in there if f.name.removesuffix(".tmp") == word]
    if not same and len(word) >= DIGITS:
        same = [f for f in there if f.name.rpartition("-")[2].startswith(word)]
    if not same:
        raise MiaError(
            f"no run in {outputs} is called {word}: give a folder, a name (clid-0123456789abcdef) "
            f"or at least {DIGITS} digits of the key. python -m mia_bench.status lists them."
        )
    return same


def runs(outputs: Path) -> list[Path]:
    """Every run folder, half-written ones included unless the finished one is there too."""
    there = _leaves(outputs)
    finished = {f for f in there if f.suffix != ".tmp"}
    return [f for f in there if f.suffix != ".tmp" or f.with_suffix("") not in finished]


def unfinished(folder: Path) -> str | None:
    """Why a run folder cannot be checked at all: it was never finished."""
    if folder.suffix == ".tmp":
        return (
            "half written: it was interrupted, or is being made. The same command goes on with it"
        )
    if not (folder / "manifest.json").is_file():
        return "has no manifest.json: not finished, or not all of it was copied"
    return None


def check(folder: Path) -> Iterator[Check]:
    """Every check of a finished run."""
    from mia_bench.checks import checks
    from mia_bench.stored import Stored

    return checks(Stored(folder))


def lines(folder: Path, found: Sequence[Check], all_of_them: bool) -> Iterator[str]:
    """What to print about one run: a line per check, or only those that do not simply agree."""
    states = [c.state for c in found]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    yield f"{folder}: {counts}"
    width = max(len(c.name) for c in found)
    for c in found:
        if all_of_them or c.state == "DIFFERS":
            yield f"  {c.name:<{width}}  {c.state:<11}  {c.said}"


def _leaves(outputs: Path) -> list[Path]:
    found = (path for path in outputs.glob("runs/*/*/*") if path.is_dir())
    return sorted(path for path in found if "-" in path.name)


def _print(said: Iterable[str]) -> None:
    from mia_bench.data.source import printable

    for line in said:
        say(printable(line))


if __name__ == "__main__":
    command(run)
