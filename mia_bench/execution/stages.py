"""The stages that every run has: fine-tunes, predict passes, scores.

Each makes the artefacts of a plan that are not finished. What makes a single one takes the values
it depends on, not the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.config.schema import Evaluation, TrainerOptions
from mia_bench.data.split.roles import Role
from mia_bench.execution import feature_passes, parallel
from mia_bench.execution.loading import encode_rows, load_untrained
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import ModelSpec
from mia_bench.storage import layout
from mia_bench.storage.artifacts import get_or_build, get_or_build_on_all_ranks
from mia_bench.storage.files import write_yaml
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.memory import free

if TYPE_CHECKING:
    from mia_bench.data.source import Item
    from mia_bench.mitigations import TrainingSetup
    from mia_bench.target import Target


# --- training -------------------------------------------------------------------------------------


def train_models(plan: Plan) -> None:
    """Target and shadow, each from the same base with the same recipe."""
    parallel.train_models(plan, train)


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
    feature_passes.extract_features(plan)


STAGES: Mapping[str, Callable[[Plan, Any], None]] = {"train": train, feature_passes.STAGE: feature_passes.work_on}
"""What a worker process does in each stage that is divided among processes, by its name."""


# --- scores ---------------------------------------------------------------------------------------


def score_runs(plan: Plan) -> None:
    """The blind baselines, every run, and the ensemble: from stored features, without a model."""
    from mia_bench.evaluation.score_run import build_blind, score_ensemble, score_run

    build_blind(plan)
    for run in plan.runs:
        get_or_build(run.folder, partial(score_run, plan, run))
    if plan.ensemble is not None:
        get_or_build(plan.ensemble, partial(score_ensemble, plan))
