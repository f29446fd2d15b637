"""`python -m mia_bench.verify [RUN ...]`: stored runs computed again; names exactly what differs.

RUN is a run's folder, its name, or its key (the first six digits will do), or that of an audit;
without one, every run and audit of paths.outputs is checked. Scores are computed again from the
stored features with the stored configuration, metrics from the stored scores, and of an audit the
verdict; files, split, roles, models, keys, versions and a registered plan are compared, evidence,
generated pictures and utility with their manifests. No model is loaded, nothing is fetched or
written. Exit status 1 where something differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mia_bench.config.arguments import OUTPUTS, parse, run_command
from mia_bench.config.command_spec import FLAG, Command, Option, Positional
from mia_bench.storage import layout
from mia_bench.storage.index import (
    RunRef,
    audit_folders,
    begins_key,
    find_all_runs,
    require_one_name,
    runs,
)
from mia_bench.storage.stored_files import Unreadable, read_manifest
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


AGREES, DIFFERS, UNFINISHED, UNREADABLE = STATES = ("agrees", "differs", "unfinished", "unreadable")


def run(words: Sequence[str]) -> None:
    """Check, print, and exit with status 1 when something differs."""
    arguments = parse(COMMAND, words)
    outputs = arguments.path("paths.outputs")
    audits = find_audits(arguments.words, outputs)
    named = [word for word in arguments.words if word not in audits]
    refs = find_all_runs(named, outputs)
    if not arguments.words:
        refs = runs(outputs)
    if audits and not refs:
        _exit_where_different([_verify_audit(folder) for folder in audits.values()])
        return
    if not refs:
        raise MiaError(f"{outputs} holds no run: nothing was run there yet, or it is elsewhere.")
    every_line = arguments.flag("all") or len(refs) == 1
    states = [_verify_one(ref, every_line) for ref in refs]
    states += [_verify_audit(folder) for folder in audits.values()]
    agree, differ, unfinished, unread = (states.count(s) for s in STATES)
    echo(
        f"{agree + differ} runs checked: {agree} agree, {differ} differ; "
        f"{unfinished} unfinished, {unread} unreadable"
    )
    if differ or unread or (unfinished and named):
        sys.exit(1)


def _exit_where_different(states: Sequence[str]) -> None:
    if any(state != AGREES for state in states):
        sys.exit(1)


def find_audits(words: Sequence[str], outputs: Path) -> dict[str, Path]:
    """Finished audits by the word that names them: a folder, its name, or the start of its key;
    without words, all of `outputs`.

    Raises:
        MiaError: a word is how several keys begin, of audits or of an audit and a run.
    """
    folders = audit_folders(outputs)
    if not words:
        return {folder.name: folder for folder in folders}
    found = {}
    for word in words:
        path = Path(word)
        if (path / layout.AUDIT_FILE).is_file():
            found[word] = path
            continue
        same = [folder for folder in folders if word == folder.name]
        if not same:
            same = [f for f in folders if begins_key(word, *layout.split_name(f.name))]
            if same:
                also = [r.name for r in runs(outputs) if begins_key(word, r.attack, r.key)]
                require_one_name(word, [*(folder.name for folder in same), *also])
        if same:
            found[word] = same[0]
    return found


def _verify_audit(folder: Path) -> str:
    """Print what the checks of an audit say; one of STATES."""
    from mia_bench.audit.record import check_audit

    try:
        results = list(check_audit(folder))
    except MiaError as error:
        _print([f"{folder}: {error}"])
        return UNREADABLE
    differ = [name for name, agrees, _ in results if not agrees]
    _print([f"{folder}: {'DIFFERS' if differ else 'agrees'}"])
    _print(f"  {name:<8} {'ok' if ok else 'DIFFERS':<8} {message}" for name, ok, message in results)
    return DIFFERS if differ else AGREES


def _verify_one(ref: RunRef, every_line: bool) -> str:
    """Print what the checks of one run say; one of STATES."""
    if (obstacle := ref.obstacle) is not None:
        _print([f"{ref.folder}: {obstacle}"])
        return UNFINISHED if obstacle.startswith(UNFINISHED) else UNREADABLE
    try:
        read_manifest(ref.folder)
    except Unreadable as error:
        _print([f"{ref.folder}: {error}"])
        return UNREADABLE
    results = list(check(ref))
    _print(lines(ref.folder, results, every_line))
    return DIFFERS if any(c.state == "DIFFERS" for c in results) else AGREES


def check(ref: RunRef) -> Iterator[Check]:
    """Every check of a finished run."""
    from mia_bench.verification.checks import checks
    from mia_bench.verification.stored_run import StoredRun

    return checks(StoredRun(ref))


def lines(folder: Path, results: Sequence[Check], every_line: bool) -> Iterator[str]:
    """What to print about one run: a line per check, or only those that differ."""
    states = [c.state for c in results]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    yield f"{folder}: {counts}"
    width = max(len(c.name) for c in results)
    for c in results:
        if every_line or c.state == "DIFFERS":
            yield f"  {c.name:<{width}}  {c.state:<11}  {c.message}"


def _print(texts: Iterable[str]) -> None:
    from mia_bench.utils.text import printable

    for text in texts:
        echo(printable(text))


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


if __name__ == "__main__":
    main()
