"""A plan in words, as it is printed before a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mia_bench.planning.plan import Plan


def describe_plan(plan: Plan) -> Iterator[str]:
    """What will run."""
    asked = plan.experiment.options.data.captions
    if asked != "own":
        yield f"captions asked with: {asked or 'null'}; models are trained on the data's own"
    model, configured = plan.experiment.model, plan.experiment.resolved["model"]
    if configured.get("resolution", 0) is None and model.resolution is not None:
        yield f"model.resolution={model.resolution}, from the model's own files"
    yield plan.split.summary()
    yield plan.describe()
    if plan.absent:
        yield f"missing: {plan.absent}"
