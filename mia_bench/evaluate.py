"""`python -m mia_bench.evaluate scores=mine.csv`: metrics and intervals of scores from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import FLAG, Command, Option
from mia_bench.utils.errors import MiaError

COMMAND = Command(
    "evaluate",
    "mia_bench.evaluate",
    __doc__,
    (
        Option(
            "scores",
            "a .csv, .tsv, .parquet or .json file, several to compare",
            "FILE",
            repeated=True,
        ),
        Option("out", "write metrics.json, roc.parquet, roc.svg, evaluation.md here", "FOLDER"),
        Option("negate", "scores are lower for members, as losses are", FLAG, "false"),
        Option("seed", "of the bootstrap", "N", "0"),
        Option(
            "resamples", "of the bootstrap; where not given, 2000, fewer above 100,000 rows", "N"
        ),
    ),
    examples=(
        "mia-bench evaluate scores=mine.csv",
        "mia-bench evaluate scores=mine.csv scores=baseline.csv out=compared",
        "mia-bench evaluate scores=losses.parquet negate=true",
    ),
)


def run(words: Sequence[str]) -> dict[str, Any]:
    """Evaluate, print, and write what `out` asks for; the content of metrics.json."""
    arguments = parse(COMMAND, words)
    from mia_bench.display.score_files import show, write
    from mia_bench.evaluation.score_files.measuring import (
        compare,
        distinctly_named,
        evaluate_file,
        resamples_of,
    )
    from mia_bench.evaluation.score_files.remarks import joint_remarks

    if "scores" not in arguments:
        raise MiaError("scores=FILE is needed: mia-bench evaluate scores=mine.csv")
    seed = arguments.integer("seed")
    resamples = arguments.integer("resamples") if "resamples" in arguments else None
    if resamples is not None and resamples < 100:
        raise MiaError("resamples must be at least 100.")
    paths = [Path(value) for value in arguments.several("scores")]
    negate = arguments.flag("negate")
    files = distinctly_named(
        [evaluate_file(path, seed, resamples, negate) for path in paths], paths
    )
    compared = {s.name: compare(files[0], s, seed, resamples) for s in files[1:]}
    drawn = {s.name: resamples_of(len(s.table), resamples) for s in files}
    result = {
        "files": {s.name: {**s.measured.metrics, "resamples": drawn[s.name]} for s in files},
        "compared": compared,
        "seed": seed,
        "resamples": min(drawn.values()),
        "remarks": joint_remarks(files),
    }
    show(files, result)
    if "out" in arguments:
        write(arguments.path("out"), files, result)
    return result


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


if __name__ == "__main__":
    main()
