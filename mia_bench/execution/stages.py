"""The stages of a run: fine-tunes, predict passes, scores, evidence, utility.

Each makes the artefacts of a plan that are not finished. What makes a single one takes the values
it depends on, not the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.config.schema import Evaluation, TrainerOptions
from mia_bench.data.split.roles import Role
from mia_bench.execution import parallel
from mia_bench.execution.loading import device_of, encode_rows, load_model, scoring
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import FeatureSpec, ModelSpec, RunSpec
from mia_bench.storage.artifacts import (
    build_folder,
    finished_elsewhere,
    get_or_build,
    get_or_build_on_all_ranks,
    is_settled,
)
from mia_bench.storage.files import write_json, write_yaml
from mia_bench.storage.locks import holding
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.errors import MiaError
from mia_bench.utils.memory import free

if TYPE_CHECKING:
    from mia_bench.data.source import Item
    from mia_bench.evaluation.utility import UtilityRows
    from mia_bench.mitigations import TrainingSetup
    from mia_bench.target import Target


# --- training -------------------------------------------------------------------------------------


def train_models(plan: Plan) -> None:
    """Target and shadow, each from the same base with the same recipe."""
    parallel.run_stage(plan, "train", train)


def train(plan: Plan, kinds: Sequence[str]) -> None:
    """The models of `kinds` that are not trained."""
    from mia_bench.training.checkpoints import LAST_CHECKPOINT

    distributed = plan.experiment.options.trainer.ranks > 1
    build_model = get_or_build_on_all_ranks if distributed else get_or_build
    for spec in plan.trained:
        if spec.kind in kinds and not spec.ready:
            build_model(spec.folder, partial(_train, plan, spec), discard=(LAST_CHECKPOINT,))
            free()


def _train(plan: Plan, spec: ModelSpec, folder: Path) -> dict[str, Any]:
    options = plan.experiment.options
    setup = spec.setup
    assert spec.member is not None
    assert setup is not None
    if global_rank() == 0:
        write_yaml(folder / "config.yaml", plan.experiment.resolved)
    facts = train_model(
        load_model(plan, plan.base, train=True),
        setup,
        plan.items_of(plan.rows(spec.member)),
        plan.items_of(plan.rows(Role.VALIDATION)[: setup.recipe.val_rows]),
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
    resolution: int,
    options: Evaluation,
    trainer: TrainerOptions,
    folder: Path,
    kind: str,
) -> dict[str, Any]:
    """Encode the rows, fine-tune `target` on them into `folder`; what the manifest should say."""
    from mia_bench.training.finetune import finetune
    from mia_bench.training.views import training_rows

    encode = partial(encode_rows, target, resolution=resolution, options=options, trainer=trainer)
    member_rows = encode(members, label=f"members of the {kind}")
    heldout = encode(validation, label="validation rows") if validation else None
    rows, views = training_rows(target, member_rows, members, resolution, setup)
    target.to("cpu")  # the trainer moves what it trains; the rest need not hold GPU memory
    return finetune(
        target, member_rows, heldout, setup, trainer, folder, f"fine-tune {kind}", rows, views
    )


# --- extraction of features -----------------------------------------------------------------------


def extract_features(plan: Plan) -> None:
    """Every missing feature table, one predict pass per model and rows."""
    parallel.run_stage(plan, "extract", extract)


def extract(plan: Plan, kinds: Sequence[str]) -> None:
    """The feature tables that are missing of the models of `kinds`."""
    from mia_bench.extraction.shards import SHARDS

    distributed = plan.experiment.options.trainer.ranks > 1  # every rank writes its own shards
    for (model, rows), features in plan.missing().items():
        if model.kind not in kinds:
            continue
        with holding([spec.folder for spec in features], distributed):
            # another job may have extracted some meanwhile, or was killed once all was sealed
            first = global_rank() == 0
            waiting = [s for s in features if not (first and is_settled(s.folder, (SHARDS,)))]
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
    from mia_bench.extraction.shards import SHARDS

    with _scoring_model(plan, model) as target:
        run_pass(
            target,
            {s.folder.name: (s.attack, build_folder(s.folder)) for s in features},
            plan.items_of(rows),
            plan.experiment.model.resolution,
            plan.experiment.options.eval.batch_size,
            plan.experiment.options.trainer,
            f"extract {model.kind}",
        )
    for spec in features:
        get_or_build(spec.folder, partial(merge_shards, spec), discard=(SHARDS,))


def merge_shards(spec: FeatureSpec, folder: Path) -> dict[str, Any]:
    """One table of the shards in `folder`; what its manifest should say."""
    from mia_bench.extraction.shards import merge
    from mia_bench.storage.feature_table import write_table

    table, cost = merge(folder, spec.sample_id)
    write_table(folder / "features.parquet", table)
    return {"model": spec.model.key, "cost": cost.to_json()}


def _scoring_model(plan: Plan, spec: ModelSpec) -> AbstractContextManager[Target]:
    options = plan.experiment.options
    return scoring(
        load_model(plan, spec), options.trainer, options.eval.dtype, plan.folder("cache")
    )


STAGES = {"train": train, "extract": extract}
"""What is divided among processes, by the name that a worker process is told."""


# --- scores ---------------------------------------------------------------------------------------


def score_runs(plan: Plan) -> None:
    """The blind baselines, every run, and the ensemble: from stored features, without a model."""
    from mia_bench.evaluation.score_run import score_blind, score_ensemble, score_run

    if plan.blind is not None:
        get_or_build(plan.blind, partial(score_blind, plan))
    for run in plan.runs:
        get_or_build(run.folder, partial(score_run, plan, run))
    if plan.ensemble is not None:
        get_or_build(plan.ensemble, partial(score_ensemble, plan))


# --- evidence -------------------------------------------------------------------------------------


def illustrate(plan: Plan) -> None:
    """Pictures, below the run, of what an attack that can show it has reconstructed."""
    from mia_bench.attacks import ProducesEvidence

    for run in plan.runs:
        if isinstance(run.attack, ProducesEvidence):
            get_or_build(run.folder / "evidence", partial(_illustrate, plan, run))
            free()


def _illustrate(plan: Plan, run: RunSpec, folder: Path) -> dict[str, Any]:
    """Query about a few rows again, which noise keyed by sample makes repeatable, and draw them."""
    import torch

    from mia_bench.attacks import ProducesEvidence
    from mia_bench.data.loader import batch_of
    from mia_bench.display.evidence import EvidenceRow, save_strips

    rows = evidence_rows(run.folder, plan.experiment.options.eval.seed)
    items = plan.items_of([row["sample_id"] for row in rows])
    batch = batch_of(items, plan.experiment.model.resolution)
    assert isinstance(run.attack, ProducesEvidence)
    with _scoring_model(plan, run.evaluation.model) as target, torch.no_grad():
        images = run.attack.evidence(target, batch)
    drawn = [
        EvidenceRow(item.sample_id, item.caption, row["score"], row["is_member"], row["why"])
        for item, row in zip(items, rows, strict=True)
    ]
    save_strips(folder, images, drawn, f"{run.name} on {plan.split.source}")
    return {"rows": len(drawn)}


def evidence_rows(run_folder: Path, seed: int) -> list[dict[str, Any]]:
    """About a dozen evaluation rows of scores.parquet, chosen by their scores; `why` says how."""
    import pandas as pd

    from mia_bench.display.evidence import choose

    scores = pd.read_parquet(run_folder / "scores.parquet")
    scores = scores[~scores.calibration].reset_index(drop=True)
    chosen = choose(scores.score.to_numpy(), scores.is_member.to_numpy(), seed)
    records = scores.to_dict("records")
    return [
        {"why": why, **{str(k): v for k, v in records[i].items()}}
        for why, places in chosen.items()
        for i in places
    ]


# --- utility --------------------------------------------------------------------------------------


def measure_utility(plan: Plan) -> None:
    """How good target and base still are as models, as utility.json and samples.png."""
    for spec, folder in plan.utility.items():
        get_or_build(folder, partial(_measure_utility, plan, spec))
        free()


def _measure_utility(plan: Plan, spec: ModelSpec, folder: Path) -> dict[str, Any]:
    from mia_bench.evaluation.utility import UtilityRows

    options, count = plan.experiment.options, plan.experiment.options.eval.utility_images
    members = plan.items_of(plan.rows(Role.TARGET_MEMBER)[:count])
    heldout = plan.items_of(plan.rows(Role.VALIDATION)[: 2 * count])
    target = load_model(plan, spec).to(device_of(options.trainer))
    rows = UtilityRows(members, heldout[:count], heldout[count:])
    resolution = plan.experiment.model.resolution
    about = {"step": spec.step, "model": spec.key}
    measure_model(target, rows, resolution, options.eval, about, folder)
    return {"split": plan.split.content_hash}


def measure_model(
    target: Target,
    rows: UtilityRows,
    resolution: int,
    options: Evaluation,
    about: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write utility.json, which begins with `about`, and samples.png into `folder`."""
    from mia_bench.display.contact_sheet import save_sheet
    from mia_bench.evaluation.utility import assess
    from mia_bench.utils.precision import exactly

    with exactly(target.device):
        figures, images = assess(
            target, rows, resolution, options.seed, options.batch_size, options.utility_clip
        )
    write_json(folder / "utility.json", {**about, **figures})
    save_sheet(images, folder / "samples.png")
