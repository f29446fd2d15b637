"""From checked options to a plan: list the data, split it, lay out what follows."""

from __future__ import annotations

from dataclasses import dataclass, field

from mia_bench.data.captions.attacker import with_attacker_captions
from mia_bench.data.source import Item
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.prepare import prepare
from mia_bench.planning.experiment import Experiment
from mia_bench.planning.plan import Plan
from mia_bench.planning.preflight import precheck
from mia_bench.storage.hashing import canonical


@dataclass(frozen=True)
class Memo:
    """Data that several plans of one sweep have in common, listed and checked once."""

    listed: dict[str, tuple[Split, dict[str, Item]]] = field(default_factory=dict)


def make_plan(experiment: Experiment, memo: Memo | None = None) -> Plan:
    """List the data, make or verify its split, and lay out everything that follows from it."""
    known = Memo() if memo is None else memo
    outputs, options = experiment.outputs, experiment.options
    key = canonical([experiment.resolved["data"], str(outputs)])
    if key not in known.listed:
        node = experiment.resolved["data"]["source"]
        listing, split, _ = prepare(
            options.data, experiment.source, node, outputs, options.plan_only
        )
        items = with_attacker_captions(
            options.data.captions, listing, split, outputs, options.plan_only
        )
        known.listed[key] = split, items
    split, items = known.listed[key]
    plan = Plan(experiment, split, items, outputs)
    precheck(plan)
    return plan
