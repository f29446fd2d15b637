"""`python -m mia_bench.report [paths.outputs=...] [name=...]`: outputs/ as a page to read.

Several folders, as from several machines, are given by commas: paths.outputs=a,b. The page goes to
the first one, reports/<name>/index.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mia_bench.config.arguments import command, parse, parse_bool
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import safe_name

USAGE = "python -m mia_bench.report [paths.outputs=outputs] [name=report] [attack=a,b] [data=a,b]"
KNOWN = {
    "paths.outputs": "folder that runs write to; several, separated by commas, are joined",
    "name": "the page is written to <outputs>/reports/<name>/index.html",
    "attack": "only these attacks",
    "data": "only these data sets",
    "model": "only these models",
    "mitigation": "only these mitigations",
    "intervals": "true or false: draw intervals again, by default up to 200 runs",
}
FILTERS = ("attack", "data", "model", "mitigation")


def run(words: Sequence[str]) -> Path:
    """Write the report; its path.

    Raises:
        MiaError: there is no finished run to report, or none that the filters leave.
    """
    from mia_bench.report.build import build
    from mia_bench.report.html import write
    from mia_bench.report.load import blind_problems, read_outputs

    found = parse(words, KNOWN, USAGE)
    outputs = [Path(part) for part in found.get("paths.outputs", ["outputs"])[0].split(",")]
    for folder in outputs:
        if not folder.is_dir():
            raise MiaError(f"{folder} is no folder: run `python -m mia_bench` first.")
    intervals = parse_bool(found, "intervals") if "intervals" in found else None
    runs, problems, again = read_outputs(outputs, intervals)
    if not runs:
        said = "".join(f"\n  {p.where}: {p.what}" for p in problems[:10])
        where = ", ".join(str(folder / "runs") for folder in outputs)
        raise MiaError(f"no finished run under {where}: run `python -m mia_bench` first.{said}")
    for name in FILTERS:
        if name in found:
            allowed = found[name][0].split(",")
            kept = [run for run in runs if getattr(run, name) in allowed]
            if not kept:
                there = ", ".join(sorted({getattr(run, name) for run in runs}))
                raise MiaError(f"no run has {name}={found[name][0]}; there are {there}.")
            runs = kept
    name = safe_name(found.get("name", ["report"])[0])
    report = build(name, runs, [*problems, *blind_problems(outputs)], again)
    return write(report, outputs[0] / "reports" / name)


def main(words: Sequence[str]) -> None:
    echo(f"report: {run(words)}")


if __name__ == "__main__":
    command(main)
