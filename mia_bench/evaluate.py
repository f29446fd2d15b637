"""`python -m mia_bench.evaluate scores=mine.csv`: metrics and intervals of scores from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mia_bench.config.arguments import command, parse, parse_bool, parse_int
from mia_bench.evaluation.score_files import compare, distinctly_named, evaluate_file, remarks
from mia_bench.utils.errors import MiaError

USAGE = "python -m mia_bench.evaluate scores=FILE [scores=FILE2 ...] [out=DIR]"
KNOWN = {
    "scores": "a .csv, .parquet or .json file; give it several times to compare",
    "out": "where metrics.json, roc.parquet, roc.svg and evaluation.md go (default: nowhere)",
    "negate": "true for scores that are lower for members, as losses and distances are",
    "seed": "of the bootstrap (default 0)",
    "resamples": "of the bootstrap (default 2000)",
}


def run(words: Sequence[str]) -> dict[str, Any]:
    """Evaluate, print, and write what `out` asks for; the content of metrics.json."""
    from mia_bench.display.score_files import show, write

    given = parse(words, KNOWN, USAGE, repeated=("scores",))
    if "scores" not in given:
        raise MiaError(f"scores=FILE is needed. {USAGE}")
    seed, resamples = parse_int(given, "seed", 0), parse_int(given, "resamples", 2000)
    if resamples < 100:
        raise MiaError("resamples must be at least 100.")
    paths = [Path(value) for value in given["scores"]]
    negate = parse_bool(given, "negate")
    files = distinctly_named(
        [evaluate_file(path, seed, resamples, negate) for path in paths], paths
    )
    compared = {s.name: compare(files[0], s, seed, resamples) for s in files[1:]}
    result = {
        "files": {s.name: s.measured.metrics for s in files},
        "compared": compared,
        "seed": seed,
        "resamples": resamples,
        "remarks": [remark for s in files for remark in remarks(s)],
    }
    show(files, result)
    if "out" in given:
        write(Path(given["out"][0]), files, result)
    return result


if __name__ == "__main__":
    command(run)
