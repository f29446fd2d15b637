"""Carrying a plan out: split, fine-tunes, predict passes, scores; what is finished is reused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mia_bench.data.split.roles import Role
from mia_bench.execution import parallel
from mia_bench.execution.loading import device_of, encode_rows, load_target, scoring_target
from mia_bench.planning.cells import Cell, Questions, Subject
from mia_bench.planning.plan import Plan
from mia_bench.storage.artifacts import get_or_build, meanwhile, settled
from mia_bench.storage.files import write_yaml
from mia_bench.storage.locks import holding
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.errors import MiaError
from mia_bench.utils.memory import free


def train_models(plan: Plan) -> None:
    """Target and shadow, each from the same base with the same recipe."""
    parallel.carry_out(plan, "train", train)


def answer_questions(plan: Plan) -> None:
    """Every missing feature table, one predict pass per (model, rows)."""
    parallel.carry_out(plan, "ask", ask)


def train(plan: Plan, kinds: Sequence[str]) -> None:
    """The models of `kinds` that are not trained."""
    from mia_bench.training.checkpoints import LAST

    together = plan.experiment.options.trainer.ranks > 1
    for subject in plan.trained:
        if subject.kind in kinds and not subject.ready:
            build = partial(_train, plan, subject)
            get_or_build(subject.folder, build, together, scrap=(LAST,))
            free()


def ask(plan: Plan, kinds: Sequence[str]) -> None:
    """What was not asked of the models of `kinds`."""
    for (subject, rows), asked in plan.missing().items():
        if subject.kind in kinds:
            _predict(plan, subject, rows, asked)
            free()


WORK = {"train": train, "ask": ask}
"""What is divided among processes, by the name under which a worker process knows it."""


def _train(plan: Plan, subject: Subject, tmp: Path) -> dict[str, Any]:
    from mia_bench.training.finetune import finetune
    from mia_bench.training.views import shown

    options = plan.experiment.options
    target = load_target(plan, plan.base, train=True)
    treatment = subject.treatment
    assert subject.member is not None
    assert treatment is not None
    members = encode_rows(plan, target, subject.member)
    heldout = None
    if plan.rows(Role.VALIDATION):
        heldout = encode_rows(plan, target, Role.VALIDATION, treatment.recipe.val_rows)
    items = [plan.items[sid] for sid in members.sample_id]
    rows, views = shown(target, members, items, plan.experiment.model.resolution, treatment)
    target.to("cpu")  # the trainer moves what it trains; the rest need not hold GPU memory
    write_yaml(tmp / "config.yaml", plan.experiment.resolved)
    facts = finetune(
        target,
        members,
        heldout,
        treatment,
        options.trainer,
        tmp,
        f"fine-tune {subject.kind}",
        rows,
        views,
    )
    return {"kind": subject.kind, "split": plan.split.content_hash, "base": plan.base.key, **facts}


def _predict(plan: Plan, subject: Subject, rows: Sequence[str], asked: list[Questions]) -> None:
    from mia_bench.extraction.shards import SHARDS

    together = plan.experiment.options.trainer.ranks > 1  # every rank writes shards of its own
    with holding([q.folder for q in asked], together):
        # another job may have asked meanwhile, or one was killed when all was sealed
        first = global_rank() == 0
        waiting = [q for q in asked if not (first and settled(q.folder, scrap=(SHARDS,)))]
        if together and len(waiting) < len(asked):
            raise MiaError(meanwhile(asked[0].folder))
        if waiting:
            _ask(plan, subject, rows, waiting)


def _ask(plan: Plan, subject: Subject, rows: Sequence[str], asked: list[Questions]) -> None:
    from mia_bench.extraction.predict import run_pass
    from mia_bench.extraction.shards import SHARDS

    options = plan.experiment.options
    with scoring_target(plan, subject) as target:
        run_pass(
            target,
            {q.folder.name: (q.attack, q.folder.with_name(q.folder.name + ".tmp")) for q in asked},
            [plan.items[sid] for sid in rows],
            plan.experiment.model.resolution,
            options.eval.batch_size,
            options.trainer,
            f"ask {subject.kind}",
        )
    for questions in asked:
        get_or_build(questions.folder, partial(_merged, questions), scrap=(SHARDS,))


def _merged(questions: Questions, tmp: Path) -> dict[str, Any]:
    from mia_bench.extraction.shards import merge
    from mia_bench.storage.feature_table import write_table

    table, cost = merge(tmp, questions.sample_id)
    write_table(tmp / "features.parquet", table)
    return {"model": questions.subject.key, "cost": cost.to_json()}


def score_cells(plan: Plan) -> None:
    from mia_bench.evaluation.score_cell import score_blind, score_cell, score_ensemble

    if plan.blind is not None:
        get_or_build(plan.blind, partial(score_blind, plan))
    for cell in plan.cells:
        get_or_build(cell.folder, partial(score_cell, plan, cell))
    if plan.ensemble is not None:
        get_or_build(plan.ensemble, partial(score_ensemble, plan))


def measure_utility(plan: Plan) -> None:
    """What target and base are good for, as utility.json and samples.png."""
    for subject, folder in plan.utility.items():
        get_or_build(folder, partial(_assess, plan, subject))
        free()


def _assess(plan: Plan, subject: Subject, tmp: Path) -> dict[str, Any]:
    from mia_bench.display.contact_sheet import save_sheet
    from mia_bench.evaluation.utility import Rows, assess
    from mia_bench.storage.files import write_json
    from mia_bench.utils.precision import exactly

    options, model = plan.experiment.options, plan.experiment.model
    most = options.eval.utility_images
    members, heldout = (
        [plan.items[sid] for sid in plan.rows(role)]
        for role in (Role.TARGET_MEMBER, Role.VALIDATION)
    )
    target = load_target(plan, subject)
    target.to(device_of(options.trainer))
    rows = Rows(members[:most], heldout[:most], heldout[most : 2 * most])
    with exactly(target.device):
        found, images = assess(
            target,
            rows,
            model.resolution,
            options.eval.seed,
            options.eval.batch_size,
            options.eval.utility_clip,
        )
    write_json(tmp / "utility.json", {"step": subject.step, "model": subject.key, **found})
    save_sheet(images, tmp / "samples.png")
    return {"split": plan.split.content_hash}


def illustrate(plan: Plan) -> None:
    """Pictures beside the runs of attacks that can show what they saw."""
    from mia_bench.attacks import Illustrated

    for cell in plan.cells:
        if isinstance(cell.attack, Illustrated):
            get_or_build(cell.folder / "evidence", partial(_illustrate, plan, cell))
            free()


def _illustrate(plan: Plan, cell: Cell, tmp: Path) -> dict[str, Any]:
    """Ask again about a dozen rows, chosen by their scores; keyed noise gives the same answer."""
    import pandas as pd
    import torch

    from mia_bench.attacks import Illustrated
    from mia_bench.data.loader import batch_of
    from mia_bench.display.evidence import Shown, choose, save_strips

    scores = pd.read_parquet(cell.folder / "scores.parquet")
    scores = scores[~scores.calibration].reset_index(drop=True)
    chosen = choose(
        scores.score.to_numpy(), scores.is_member.to_numpy(), plan.experiment.options.eval.seed
    )
    records = scores.to_dict("records")
    rows = [(why, records[i]) for why, picked in chosen.items() for i in picked]
    items = [plan.items[row["sample_id"]] for _, row in rows]
    batch = batch_of(items, plan.experiment.model.resolution)
    assert isinstance(cell.attack, Illustrated)
    with scoring_target(plan, cell.evaluation.subject) as target, torch.no_grad():
        images = cell.attack.evidence(target, batch)
    shown = [
        Shown(item.sample_id, item.caption, row["score"], row["is_member"], why)
        for item, (why, row) in zip(items, rows, strict=True)
    ]
    save_strips(tmp, images, shown, f"{cell.name} on {plan.split.source}")
    return {"rows": len(shown)}
