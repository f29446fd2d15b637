"""Carrying a plan out: split, fine-tunes, predict passes, scores; what is finished is reused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mia_bench.data.split.roles import Role
from mia_bench.execution import parallel
from mia_bench.execution.loading import device_of, encode_rows, load_target, scoring_target
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import FeatureSpec, ModelSpec, RunSpec
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


def train_models(plan: Plan) -> None:
    """Target and shadow, each from the same base with the same recipe."""
    parallel.run_stage(plan, "train", train)


def extract_features(plan: Plan) -> None:
    """Every missing feature table, one predict pass per (model, rows)."""
    parallel.run_stage(plan, "ask", extract)


def train(plan: Plan, kinds: Sequence[str]) -> None:
    """The models of `kinds` that are not trained."""
    from mia_bench.training.checkpoints import LAST_CHECKPOINT

    distributed = plan.experiment.options.trainer.ranks > 1
    for spec in plan.trained:
        if spec.kind in kinds and not spec.ready:
            built = get_or_build_on_all_ranks if distributed else get_or_build
            built(spec.folder, partial(_train, plan, spec), discard=(LAST_CHECKPOINT,))
            free()


def extract(plan: Plan, kinds: Sequence[str]) -> None:
    """What was not asked of the models of `kinds`."""
    for (spec, rows), asked in plan.missing().items():
        if spec.kind in kinds:
            _predict(plan, spec, rows, asked)
            free()


WORK = {"train": train, "ask": extract}
"""What is divided among processes, by the name under which a worker process knows it."""


def _train(plan: Plan, spec: ModelSpec, tmp: Path) -> dict[str, Any]:
    from mia_bench.training.finetune import finetune
    from mia_bench.training.views import training_rows

    options = plan.experiment.options
    target = load_target(plan, plan.base, train=True)
    setup = spec.setup
    assert spec.member is not None
    assert setup is not None
    members = encode_rows(plan, target, spec.member)
    heldout = None
    if plan.rows(Role.VALIDATION):
        heldout = encode_rows(plan, target, Role.VALIDATION, setup.recipe.val_rows)
    items = [plan.items[sid] for sid in members.sample_id]
    rows, views = training_rows(target, members, items, plan.experiment.model.resolution, setup)
    target.to("cpu")  # the trainer moves what it trains; the rest need not hold GPU memory
    write_yaml(tmp / "config.yaml", plan.experiment.resolved)
    facts = finetune(
        target,
        members,
        heldout,
        setup,
        options.trainer,
        tmp,
        f"fine-tune {spec.kind}",
        rows,
        views,
    )
    return {"kind": spec.kind, "split": plan.split.content_hash, "base": plan.base.key, **facts}


def _predict(plan: Plan, spec: ModelSpec, rows: Sequence[str], asked: list[FeatureSpec]) -> None:
    from mia_bench.extraction.shards import SHARDS

    distributed = plan.experiment.options.trainer.ranks > 1  # every rank writes shards of its own
    with holding([q.folder for q in asked], distributed):
        # another job may have asked meanwhile, or one was killed when all was sealed
        first = global_rank() == 0
        waiting = [q for q in asked if not (first and is_settled(q.folder, discard=(SHARDS,)))]
        if distributed and len(waiting) < len(asked):
            raise MiaError(finished_elsewhere(asked[0].folder))
        if waiting:
            _ask(plan, spec, rows, waiting)


def _ask(plan: Plan, spec: ModelSpec, rows: Sequence[str], asked: list[FeatureSpec]) -> None:
    from mia_bench.extraction.predict import run_pass
    from mia_bench.extraction.shards import SHARDS

    options = plan.experiment.options
    with scoring_target(plan, spec) as target:
        run_pass(
            target,
            {q.folder.name: (q.attack, q.folder.with_name(q.folder.name + ".tmp")) for q in asked},
            [plan.items[sid] for sid in rows],
            plan.experiment.model.resolution,
            options.eval.batch_size,
            options.trainer,
            f"ask {spec.kind}",
        )
    for questions in asked:
        get_or_build(questions.folder, partial(_merged, questions), discard=(SHARDS,))


def _merged(questions: FeatureSpec, tmp: Path) -> dict[str, Any]:
    from mia_bench.extraction.shards import merge
    from mia_bench.storage.feature_table import write_table

    table, cost = merge(tmp, questions.sample_id)
    write_table(tmp / "features.parquet", table)
    return {"model": questions.model.key, "cost": cost.to_json()}


def score_runs(plan: Plan) -> None:
    from mia_bench.evaluation.score_run import score_blind, score_ensemble, score_run

    if plan.blind is not None:
        get_or_build(plan.blind, partial(score_blind, plan))
    for run in plan.runs:
        get_or_build(run.folder, partial(score_run, plan, run))
    if plan.ensemble is not None:
        get_or_build(plan.ensemble, partial(score_ensemble, plan))


def measure_utility(plan: Plan) -> None:
    """What target and base are good for, as utility.json and samples.png."""
    for spec, folder in plan.utility.items():
        get_or_build(folder, partial(_assess, plan, spec))
        free()


def _assess(plan: Plan, spec: ModelSpec, tmp: Path) -> dict[str, Any]:
    from mia_bench.display.contact_sheet import save_sheet
    from mia_bench.evaluation.utility import UtilityRows, assess
    from mia_bench.storage.files import write_json
    from mia_bench.utils.precision import exactly

    options, model = plan.experiment.options, plan.experiment.model
    most = options.eval.utility_images
    members, heldout = (
        [plan.items[sid] for sid in plan.rows(role)]
        for role in (Role.TARGET_MEMBER, Role.VALIDATION)
    )
    target = load_target(plan, spec)
    target.to(device_of(options.trainer))
    rows = UtilityRows(members[:most], heldout[:most], heldout[most : 2 * most])
    with exactly(target.device):
        found, images = assess(
            target,
            rows,
            model.resolution,
            options.eval.seed,
            options.eval.batch_size,
            options.eval.utility_clip,
        )
    write_json(tmp / "utility.json", {"step": spec.step, "model": spec.key, **found})
    save_sheet(images, tmp / "samples.png")
    return {"split": plan.split.content_hash}


def illustrate(plan: Plan) -> None:
    """Pictures beside the runs of attacks that can show what they saw."""
    from mia_bench.attacks import ProducesEvidence

    for run in plan.runs:
        if isinstance(run.attack, ProducesEvidence):
            get_or_build(run.folder / "evidence", partial(_illustrate, plan, run))
            free()


def _illustrate(plan: Plan, run: RunSpec, tmp: Path) -> dict[str, Any]:
    """Ask again about a dozen rows, chosen by their scores; keyed noise gives the same answer."""
    import pandas as pd
    import torch

    from mia_bench.attacks import ProducesEvidence
    from mia_bench.data.loader import batch_of
    from mia_bench.display.evidence import EvidenceRow, choose, save_strips

    scores = pd.read_parquet(run.folder / "scores.parquet")
    scores = scores[~scores.calibration].reset_index(drop=True)
    chosen = choose(
        scores.score.to_numpy(), scores.is_member.to_numpy(), plan.experiment.options.eval.seed
    )
    records = scores.to_dict("records")
    rows = [(why, records[i]) for why, picked in chosen.items() for i in picked]
    items = [plan.items[row["sample_id"]] for _, row in rows]
    batch = batch_of(items, plan.experiment.model.resolution)
    assert isinstance(run.attack, ProducesEvidence)
    with scoring_target(plan, run.evaluation.model) as target, torch.no_grad():
        images = run.attack.evidence(target, batch)
    evidence_rows = [
        EvidenceRow(item.sample_id, item.caption, row["score"], row["is_member"], why)
        for item, (why, row) in zip(items, rows, strict=True)
    ]
    save_strips(tmp, images, evidence_rows, f"{run.name} on {plan.split.source}")
    return {"rows": len(evidence_rows)}
