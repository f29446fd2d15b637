"""`python -m mia_bench.report`: finished runs as one HTML page, with tables and figures beside it.

Several folders, as from several machines, are separated by commas: paths.outputs=a,b. The page goes
to the first one, reports/<name>/index.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mia_bench.config.arguments import OUTPUTS, parse, run_command
from mia_bench.config.command_spec import FLAG, Command, Option
from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError
from mia_bench.utils.redaction import secrets_read_once
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import safe_name

FILTERS = ("attack", "data", "model", "mitigation")
COMMAND = Command(
    "report",
    "mia_bench.report",
    __doc__,
    (
        replace(
            OUTPUTS, meaning="folder that runs write to; several, separated by commas, are joined"
        ),
        Option("name", "of the page: <outputs>/reports/<name>/index.html", "NAME", "report"),
        Option("attack", "only runs of these attacks", "A,B"),
        Option("data", "only runs on these data sets", "A,B"),
        Option("model", "only runs on these models", "A,B"),
        Option("mitigation", "only runs with these mitigations", "A,B"),
        Option("intervals", "compute intervals again; where not given, up to 100 runs", FLAG),
    ),
    examples=(
        "mia-bench report",
        "mia-bench report attack=clid,loss name=two",
        "mia-bench report paths.outputs=outputs,/mnt/other/outputs",
    ),
)


def run(words: Sequence[str]) -> Path:
    """Write the report; its path.

    Raises:
        MiaError: there is no finished run to report, or none that the filters leave.
    """
    arguments = parse(COMMAND, words)
    from mia_bench.report.build import build
    from mia_bench.report.html import write
    from mia_bench.report.load import blind_problems, read_outputs

    outputs = [Path(part) for part in arguments.text("paths.outputs").split(",")]
    for folder in outputs:
        if not folder.is_dir():
            raise MiaError(f"{folder} is no folder: run `mia-bench` first.")
    intervals = arguments.flag("intervals") if "intervals" in arguments else None
    runs, problems, again = read_outputs(outputs, intervals)
    if not runs:
        details = "".join(f"\n  {p.where}: {p.what}" for p in problems[:10])
        where = ", ".join(str(folder / layout.RUNS_FOLDER) for folder in outputs)
        audits = "".join(f"\n  {line}" for line in _audits_elsewhere(outputs))
        raise MiaError(f"no finished run under {where}: run `mia-bench` first.{details}{audits}")
    for name in FILTERS:
        if name in arguments:
            allowed = arguments.text(name).split(",")
            kept = [run for run in runs if getattr(run, name) in allowed]
            if not kept:
                there = ", ".join(sorted({getattr(run, name) for run in runs}))
                raise MiaError(f"no run has {name}={arguments.text(name)}; there are {there}.")
            runs = kept
    name = safe_name(arguments.text("name"))
    with secrets_read_once():
        report = build(name, runs, [*problems, *blind_problems(outputs)], again)
        page = write(report, layout.report_folder(outputs[0], name))
    for line in _audits_elsewhere(outputs):
        echo(f"not on this page: {line}")
    return page


def _audits_elsewhere(outputs: Sequence[Path]) -> list[str]:
    """Of each folder with audits, where they are seen: a report is of runs."""
    from mia_bench.display.status_tables import audits_elsewhere

    return [line for line in map(audits_elsewhere, outputs) if line]


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, lambda arguments: echo(f"report: {run(arguments)}"), words)


if __name__ == "__main__":
    main()
