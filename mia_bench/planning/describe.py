"""A plan in words, as it is printed before a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mia_bench.attacks import HasRemark
from mia_bench.attacks.components.image_complexity import ImageComplexity
from mia_bench.planning.applicable import by_reason
from mia_bench.planning.caption_remarks import (
    caption_remarks,
    cutting_remarks,
    trained_on,
    unused_word_remarks,
)
from mia_bench.storage.artifacts import is_complete

if TYPE_CHECKING:
    from mia_bench.attacks import Attack
    from mia_bench.planning.plan import Plan
    from mia_bench.planning.specs import FeatureSpec, ModelSpec, RunSpec


def describe_plan(plan: Plan) -> Iterator[str]:
    """The data, what is to be trained and extracted, what is finished, and what is missing."""
    for reason, names in by_reason(plan.experiment.left_out).items():
        yield f"left out: {', '.join(names)}; {reason}"
    if plan.experiment.unselected:
        unselected = ", ".join(plan.experiment.unselected)
        yield f"options of {unselected} are not used: not among the attacks selected"
    captions = plan.experiment.options.data.captions
    if captions != "own":
        yield f"the attacks' captions: {captions or 'null'}; {trained_on(plan.trained)}"
    resolution = plan.experiment.model.resolution
    if plan.experiment.resolved["model"].get("resolution", 0) is None and resolution is not None:
        yield f"model.resolution={resolution}, from the model's own files"
    yield plan.split.summary()
    if not plan.absent:
        texts = [item.caption for item in plan.items_of(plan.split.sample_id)]
        yield from caption_remarks(plan.experiment.model, texts)
        yield from unused_word_remarks(plan.experiment.model, texts)
        yield from cutting_remarks(plan.experiment.attacks, texts)
        yield from cutting_remarks(plan.experiment.mitigations, texts)
    yield from remarks(plan.experiment.attacks)
    if plan.blind is not None and plan.blind_file is None:
        yield "no blind_file: no picture comes from a file whose header could be compared"
    for spec in plan.trained:
        yield from model_lines(spec)
    own = plan.own_outputs
    if own is not None and not own.ready:
        yield (
            f"generate target: {len(own.source_id)} pictures from captions of non-members; "
            f"{own.evaluations:,} U-Net evaluations"
        )
    for (model, rows), features in plan.missing().items():
        queried = [spec for spec in features if not isinstance(spec.attack, ImageComplexity)]
        folders = {spec.folder for spec in queried}
        served = [r for r in plan.runs if any(s.folder in folders for s in r.feature_specs())]
        kind = "images" if own is None or rows != own.sample_id else "own outputs"
        if queried:
            yield extraction_line(model, len(rows), queried, run_names(served), kind)
        if len(queried) < len(features):
            yield f"measure how complex {len(rows)} images are; no U-Net evaluations"
    if plan.utility:
        measured = sum(map(is_complete, plan.utility.values()))
        yield f"utility {measured} of {len(plan.utility)} done"
    yield f"runs    {sum(run.ready for run in plan.runs)} of {len(plan.runs)} done"
    if plan.absent:
        yield f"missing: {plan.absent}"


def remarks(attacks: Mapping[str, Attack]) -> Iterator[str]:
    """What attacks say of themselves: what they generate, and by which encoder they compare."""
    for name, attack in attacks.items():
        if isinstance(attack, HasRemark):
            yield f"{name}: {attack.remark}"


def model_lines(spec: ModelSpec) -> Iterator[str]:
    """A fine-tune: its key, rows, mitigations and steps, and the privacy budget it spends."""
    setup = spec.setup
    assert setup is not None
    recipe, context = setup.recipe, setup.context
    limit = "at most " if setup.stops else ""
    state = f"{limit}{recipe.total} steps of {recipe.batch_size} to train"
    if spec.ready:
        state = f"done, attacked at step {spec.step}" if setup.stops else "done"
    mitigations = f", {'+'.join(setup.mitigations)}" if setup.mitigations else ""
    yield f"{spec.kind:<7} {spec.key}  {context.members} members{mitigations}, {state}"
    if setup.private is not None:
        spent = setup.private.spent(context, recipe.total)
        yield (
            f"        epsilon {spent['epsilon']:.3g} at delta {spent['delta']:.3g} for one pair in "
            f"{recipe.total} steps, noise multiplier {spent['noise_multiplier']:.3g}"
        )


def run_names(runs: Iterable[RunSpec]) -> str:
    """Attacks in words, each once, with the suffixes of the rows that are derived from it.

    `mc and clid, loss (each also as -complexity, -base)`: those of the same suffixes together.
    """
    suffixes: dict[str, list[str]] = {}
    for run in runs:
        derived = suffixes.setdefault(run.attack_name, [])
        if run.name != run.attack_name:
            derived.append(run.name.removeprefix(run.attack_name))
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, derived in suffixes.items():
        alike.setdefault(tuple(derived), []).append(name)
    return " and ".join(_alike(names, derived) for derived, names in sorted(alike.items()))


def _alike(names: Sequence[str], derived: Sequence[str]) -> str:
    """Attacks that have the same derived rows."""
    also = "each also as" if len(names) > 1 else "also as"
    return ", ".join(names) + (f" ({also} {', '.join(derived)})" if derived else "")


def extraction_line(
    model: ModelSpec,
    images: int,
    features: list[FeatureSpec],
    attacks: str,
    kind: str = "images",
) -> str:
    """A predict pass: its model and rows, the attacks it serves, U-Net evaluations at most."""
    evaluations = sum(spec.evaluations for spec in features)
    return (
        f"extract {model.kind}: {images} {kind}, {attacks}; "
        f"at most {evaluations:,} U-Net evaluations"
    )
