"""The stages that every run has: fine-tunes, predict passes, scores.

Each makes the artefacts of a plan that are not finished. What makes a single one takes the values
it depends on, not the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.config.schema import Evaluation, TrainerOptions
from mia_bench.data.split.roles import Role
from mia_bench.execution import parallel
from mia_bench.execution.loading import encode_rows, load_untrained, scoring_model, with_base
from mia_bench.planning.noise_levels import queried_levels
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import FeatureSpec, ModelSpec
from mia_bench.storage import layout
from mia_bench.storage.artifacts import (
    finished_elsewhere,
    get_or_build,
    get_or_build_on_all_ranks,
    is_settled,
)
from mia_bench.storage.files import write_yaml
from mia_bench.storage.locks import holding
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.errors import MiaError
from mia_bench.utils.memory import free

if TYPE_CHECKING:
    from mia_bench.data.source import Item
    from mia_bench.mitigations import TrainingSetup
    from mia_bench.target import Target


# --- training -------------------------------------------------------------------------------------


def train_models(plan: Plan) -> None:
    """Target and shadow, each from the same base with the same recipe."""
    parallel.run_stage(plan, "train", train)


def train(plan: Plan, kinds: Sequence[str]) -> None:
    """The models of `kinds` that are not trained."""

    distributed = plan.experiment.options.trainer.ranks > 1
    build_model = get_or_build_on_all_ranks if distributed else get_or_build
    for spec in plan.trained:
        if spec.kind in kinds and not spec.ready:
            build_model(
                spec.folder, partial(_train, plan, spec), discard=(layout.LAST_CHECKPOINT_FILE,)
            )
            free()


def _train(plan: Plan, spec: ModelSpec, folder: Path) -> dict[str, Any]:
    options = plan.experiment.options
    setup = spec.setup
    assert spec.member is not None
    assert setup is not None
    if global_rank() == 0:
        write_yaml(folder / layout.CONFIG_FILE, plan.experiment.resolved)
    validation = plan.rows(Role.VALIDATION)
    facts = train_model(
        load_untrained(plan, spec),
        setup,
        plan.items_of(plan.rows(spec.member)),
        plan.items_of(validation[: setup.recipe.val_rows]),
        plan.items_of(validation[-setup.proxy.nonmembers :] if setup.proxy else ()),
        plan.experiment.model.resolution,
        options.eval,
        options.trainer,
        folder,
        spec.kind,
    )
    return {"kind": spec.kind, "split": plan.split.content_hash, "base": plan.base.key, **facts}


def train_model(
    target: Target,
    setup: TrainingSetup,
    members: Sequence[Item],
    validation: Sequence[Item],
    nonmembers: Sequence[Item],
    resolution: int,
    options: Evaluation,
    trainer: TrainerOptions,
    folder: Path,
    kind: str,
) -> dict[str, Any]:
    """Encode the rows, fine-tune `target` on them into `folder`; what the manifest should say.

    Args:
        nonmembers: for a proxy attacker (`setup.proxy`), none where there is none.
    """
    from mia_bench.training.finetune import finetune
    from mia_bench.training.views import training_rows

    encode = partial(encode_rows, target, resolution=resolution, options=options, trainer=trainer)
    member_rows = encode(members, label=f"members of the {kind}")
    heldout = encode(validation, label="validation rows") if validation else None
    others = encode(nonmembers, label="non-members") if nonmembers else None
    rows, views = training_rows(target, member_rows, members, resolution, setup)
    target.to("cpu")  # the trainer moves what it trains; the rest need not hold GPU memory
    label = f"fine-tune {kind}"
    return finetune(
        target, member_rows, heldout, setup, trainer, folder, label, rows, views, others
    )


# --- extraction of features -----------------------------------------------------------------------


def extract_features(plan: Plan) -> None:
    """Every missing feature table, one predict pass per model and rows."""
    parallel.run_stage(plan, "extract", extract)


def extract(plan: Plan, kinds: Sequence[str]) -> None:
    """The feature tables that are missing of the models of `kinds`."""

    distributed = plan.experiment.options.trainer.ranks > 1  # every rank writes its own shards
    for (model, rows), features in plan.missing().items():
        if model.kind not in kinds:
            continue
        with holding([spec.folder for spec in features], distributed):
            # another job may have extracted some meanwhile, or was killed once all was sealed
            first = global_rank() == 0
            waiting = [
                s for s in features if not (first and is_settled(s.folder, (layout.SHARDS_FOLDER,)))
            ]
            if distributed and len(waiting) < len(features):
                raise MiaError(finished_elsewhere(features[0].folder))
            if waiting:
                _extract(plan, model, rows, waiting)
        free()


def _extract(
    plan: Plan, model: ModelSpec, rows: Sequence[str], features: Sequence[FeatureSpec]
) -> None:
    """One predict pass, and the tables that are made of its shards."""
    from mia_bench.extraction.predict import run_pass

    attacks = [spec.attack for spec in features]
    with scoring_model(plan, model) as target, with_base(plan, model, target, attacks):
        run_pass(
            target,
            {s.folder.name: (s.attack, layout.build_folder(s.folder)) for s in features},
            plan.items_of(rows),
            plan.experiment.model.resolution,
            plan.experiment.options.eval.batch_size,
            plan.experiment.options.trainer,
            f"extract {model.kind}",
        )
        levels = {spec.folder.name: queried_levels(target, spec.attack) for spec in features}
    for spec in features:
        merge = partial(merge_shards, spec, levels=levels[spec.folder.name])
        get_or_build(spec.folder, merge, discard=(layout.SHARDS_FOLDER,))


def merge_shards(
    spec: FeatureSpec, folder: Path, levels: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """One table of the shards in `folder`; what its manifest should say.

    `levels`: noise fraction by timestep, where the model is told fractions.
    """
    from mia_bench.extraction.shards import merge
    from mia_bench.storage.feature_table import write_table

    table, cost = merge(folder, spec.sample_id)
    write_table(folder / layout.FEATURES_FILE, table)
    facts = {"model": spec.model.key, "cost": cost.to_json()}
    return facts | ({"levels": dict(levels)} if levels else {})


STAGES = {"train": train, "extract": extract}
"""What is divided among processes, by the name that a worker process is told."""


# --- scores ---------------------------------------------------------------------------------------


def score_runs(plan: Plan) -> None:
    """The blind baselines, every run, and the ensemble: from stored features, without a model."""
    from mia_bench.evaluation.score_run import build_blind, score_ensemble, score_run

    build_blind(plan)
    for run in plan.runs:
        get_or_build(run.folder, partial(score_run, plan, run))
    if plan.ensemble is not None:
        get_or_build(plan.ensemble, partial(score_ensemble, plan))
