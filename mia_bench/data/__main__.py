"""`python -m mia_bench.data data=openclipart`: what is in a data set, before it costs anything.

Prints counts, captions, sizes, duplicates, roles and what was skipped; writes them, with a contact
sheet per role, to <outputs>/reports/data-<name>-<hash>/.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Option
from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

COMMAND = Command(
    "data",
    "mia_bench.data",
    __doc__,
    (Option("export", "also write the split here, for data.split=FILE elsewhere", "FILE"),),
    overrides=True,
    examples=(
        "mia-bench data data=openclipart",
        "mia-bench data data=imagefolder data.source.root=/my export=split.json",
    ),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


def run(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    export = arguments.path("export") if "export" in arguments else None
    inspect(list(arguments.overrides), export)


def inspect(overrides: list[str], export: Path | None = None) -> Path:
    """Print and write the report of the data set that `overrides` choose; returns its folder."""
    from mia_bench.data.captions.attacker import with_attacker_captions
    from mia_bench.data.split.prepare import prepare
    from mia_bench.display.data_overview import overview, text, write_report
    from mia_bench.planning.caption_remarks import caption_remarks
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.keys import split_file
    from mia_bench.planning.membership import by_column

    experiment = compose(*overrides)
    data, outputs = experiment.options.data, experiment.outputs
    source = experiment.resolved["data"]["source"]
    labelled = by_column(data, source, experiment.model.finetune)
    path = split_file(outputs, data, source, labelled)
    listing, split, manifest = prepare(
        *(data, experiment.source, path),
        labelled=labelled,
        audited=not experiment.model.finetune,
    )
    items = with_attacker_captions(data.captions, listing, split, outputs)
    facts = overview(experiment.source, split, items, data.split_seed)
    echo(text(facts, split))
    for remark in caption_remarks(experiment.model, [items[i].caption for i in split.sample_id]):
        echo(f"  {remark}")
    name = layout.join_name(f"data-{data.name}", split.content_hash)
    folder = layout.report_folder(outputs, name)
    write_report(folder, facts, split, items, data.split_seed)
    echo(f"report: {folder}\nsplit: {manifest}")
    if export is not None:
        _export(manifest, export)
    return folder


def _export(manifest: Path, export: Path) -> None:
    if export.exists():
        raise MiaError(f"export={export} exists. Name another file, or remove it.")
    export.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(manifest, export)
    echo(f"exported: {export}")


if __name__ == "__main__":
    main()
