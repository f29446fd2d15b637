"""`python -m mia_bench.dataset_test RUN_FOLDER ...`: was a whole set of images trained on?

Dataset inference, as in CDI (arXiv 2411.12858): how many members it takes until their scores as a
set differ from those of non-members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Option, Positional
from mia_bench.metrics.inference.dataset_inference import P_LEVEL, RESAMPLES, Result, dataset_test
from mia_bench.storage import layout
from mia_bench.storage.index import is_lock_file
from mia_bench.storage.stored_files import read_frame
from mia_bench.utils.errors import MiaError

COMMAND = Command(
    "dataset-test",
    "mia_bench.dataset_test",
    __doc__,
    (
        Option("seed", "of the draws", "N", "0"),
        Option("resamples", "draws the p values are means over", "N", str(RESAMPLES)),
    ),
    Positional("RUN_FOLDER", "folder of a finished run", required=True),
    examples=("mia-bench dataset-test outputs/runs/*/*/clid-*",),
)

NOTES = """Samples needed: the smallest number from which p < {level:g}, a mean over {draws} draws.
Groups: members + non-members, near-duplicates counted once. False alarms: how often non-members are
told from non-members, {level:.0%} or less where the test holds. The test takes any difference
between members and non-members for membership: see the controls of the run."""


def read_scores(folder: Path) -> Mapping[str, NDArray[Any]]:
    """`score`, `is_member` and `group` of the evaluation rows of a run.

    Those with a target role; where `calibration` marks the rows that were fitted on, as with
    calibration=split, not those.

    Raises:
        MiaError: the scores cannot be read, or have no evaluation rows.
    """
    path = folder / layout.SCORES_FILE
    if not path.is_file():
        raise MiaError(f"{path} does not exist: give folders of finished runs, outputs/runs/*/*/*.")
    table = read_frame(path)
    try:
        table = table[table["role"].str.startswith("target")]
        if "calibration" in table:
            table = table[~table["calibration"].astype(bool)]
        rows = {name: table[name].to_numpy() for name in ("score", "is_member", "group")}
    except (KeyError, ValueError, AttributeError) as error:
        raise MiaError(f"cannot read {path}: {error}. It may be of another version.") from error
    if table.empty:
        raise MiaError(f"{path} has no evaluation rows, with a target role: nothing to test.")
    return rows


def show(results: Sequence[tuple[str, Result]]) -> None:
    """Print one line per run."""
    from mia_bench.display.console import Column, paragraph, table

    columns = [
        *(Column("attack", left=True), Column("samples needed"), Column("p with all", 1)),
        *(Column("false alarms", 2), Column("groups", 3)),
    ]
    table("Dataset inference", columns, [(name, *_line(result)) for name, result in results])
    paragraph(NOTES.format(level=P_LEVEL, draws=results[0][1]["resamples"]))


def _line(result: Result) -> tuple[str, ...]:
    needed, alarms, groups = result["samples_needed"], result["false_alarm_rate"], result["groups"]
    sizes = result["sizes"]
    most = f"> {sizes[-1]}" if sizes else "n/a"
    return (
        str(needed or most),
        f"{result['p_value'][-1]:.2g}" if sizes else "n/a",
        "n/a" if alarms is None else f"{alarms:.1%} (n={result['false_alarm_size']})",
        f"{groups['members']} + {groups['nonmembers']}",
    )


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, _test, words)


def _test(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    folders = [path for path in map(Path, arguments.words) if not is_lock_file(path)]
    if not folders:
        raise MiaError("lock files alone were given: give folders of finished runs.")
    seed, resamples = arguments.integer("seed"), arguments.integer("resamples", least=1)
    show([_run(folder, seed, resamples) for folder in folders])


def _run(folder: Path, seed: int, resamples: int) -> tuple[str, Result]:
    """(attack, result) of one run."""
    rows, name = read_scores(folder), folder.resolve().name
    group = rows["group"].tolist()
    result = dataset_test(rows["score"], rows["is_member"], group, seed, resamples)
    return layout.split_name(name)[0], result


if __name__ == "__main__":
    main()
