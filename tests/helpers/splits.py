"""The split of a composed experiment, made or read as a run does it."""

from __future__ import annotations

from pathlib import Path

from mia_bench.data.source import Listing
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.prepare import prepare
from mia_bench.planning.experiment import Experiment


def split_of(experiment: Experiment, outputs: Path) -> tuple[Listing, Split, Path]:
    """(what the source offers, its split, the split's manifest)."""
    options = experiment.options
    node = experiment.resolved["data"]["source"]
    return prepare(options.data, experiment.source, node, outputs, options.plan_only)
