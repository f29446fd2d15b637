"""The split of a composed experiment, made or read as a run does it."""

from __future__ import annotations

from pathlib import Path

from mia_bench.data.source import Listing
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.prepare import prepare
from mia_bench.planning.experiment import Experiment
from mia_bench.planning.keys import split_file
from mia_bench.planning.membership import by_column


def split_of(experiment: Experiment, outputs: Path) -> tuple[Listing, Split, Path]:
    """(what the source offers, its split, the split's manifest)."""
    options = experiment.options
    source = experiment.resolved["data"]["source"]
    labelled = by_column(options.data, source, experiment.model.finetune)
    path = split_file(outputs, options.data, source, labelled)
    audited = not experiment.model.finetune
    return prepare(options.data, experiment.source, path, options.plan_only, labelled, audited)
