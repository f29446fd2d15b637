"""Carrying a plan out: split, fine-tunes, predict passes, scores; what is finished is reused."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.config import Experiment, TrainerOptions
from mia_bench.data.captions import ask_with
from mia_bench.data.membership import Role
from mia_bench.data.source import Item
from mia_bench.data.splits import prepare
from mia_bench.errors import MiaError
from mia_bench.plan import Cell, Plan, Questions, Subject
from mia_bench.store import get_or_build

if TYPE_CHECKING:
    import torch

    from mia_bench.batches import Rows
    from mia_bench.target import Target


def make_plan(experiment: Experiment) -> Plan:
    """List the data, make or verify its split, and lay out everything that follows from it."""
    outputs = experiment.outputs
    listing, split, _ = prepare(experiment, outputs)
    if experiment.model.finetune and not len(split.rows(Role.VALIDATION)):
        raise MiaError(
            "the split leaves no rows for validation, which fine-tuning needs: ask for fewer rows "
            "in another of data.sizes."
        )
    options = experiment.options
    items = ask_with(options.data.captions, listing, split, outputs, options.plan_only)
    return Plan(experiment, split, items, outputs)


def train_models(plan: Plan) -> None:
    """Target and shadow, each from the same base with the same recipe."""
    for subject in plan.trained:
        if not subject.ready:
            get_or_build(subject.folder, partial(_train, plan, subject), together=True)
            gc.collect()


def _train(plan: Plan, subject: Subject, tmp: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    from mia_bench.finetune import finetune

    options = plan.experiment.options
    target = load_target(plan, plan.base)
    assert subject.member is not None
    members = encode_rows(plan, target, subject.member)
    heldout = encode_rows(plan, target, Role.VALIDATION, options.finetune.val_rows)
    (tmp / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plan.experiment.resolved)))
    facts = finetune(
        target,
        members,
        heldout,
        options.finetune,
        options.trainer,
        tmp,
        f"fine-tune {subject.kind}",
    )
    return {"kind": subject.kind, "split": plan.split.content_hash, "base": plan.base.key, **facts}


def answer_questions(plan: Plan) -> None:
    """Every missing feature table, one predict pass per (model, rows)."""
    for (subject, rows), asked in plan.missing().items():
        _predict(plan, subject, rows, asked)
        gc.collect()


def _predict(plan: Plan, subject: Subject, rows: Sequence[str], asked: list[Questions]) -> None:
    from mia_bench.runner import run_pass

    options = plan.experiment.options
    target = load_target(plan, subject)
    cost = run_pass(
        target,
        {q.folder.name: (q.attack, q.folder.with_name(q.folder.name + ".tmp")) for q in asked},
        [plan.items[sid] for sid in rows],
        plan.experiment.model.resolution,
        options.eval.batch_size,
        options.trainer,
        f"ask {subject.kind}",
    )
    for questions in asked:
        about = {"model": subject.key, "cost": cost[questions.folder.name].to_json()}
        get_or_build(questions.folder, partial(_merged, questions, about))


def _merged(questions: Questions, about: dict[str, Any], tmp: Path) -> dict[str, Any]:
    from mia_bench.features import write_table
    from mia_bench.runner import SHARDS, merge

    write_table(tmp / "features.parquet", merge(tmp, questions.sample_id))
    shutil.rmtree(tmp / SHARDS)
    return about


def score_cells(plan: Plan) -> None:
    from mia_bench.scoring import score_blind, score_cell, score_ensemble

    if plan.blind is not None:
        get_or_build(plan.blind, partial(score_blind, plan))
    for cell in plan.cells:
        get_or_build(cell.folder, partial(score_cell, plan, cell))
    if plan.ensemble is not None:
        get_or_build(plan.ensemble, partial(score_ensemble, plan))


def illustrate(plan: Plan) -> None:
    """Pictures beside the runs of attacks that can show what they saw."""
    from mia_bench.evidence import Illustrated

    for cell in plan.cells:
        if isinstance(cell.attack, Illustrated):
            get_or_build(cell.folder / "evidence", partial(_illustrate, plan, cell))


def _illustrate(plan: Plan, cell: Cell, tmp: Path) -> dict[str, Any]:
    """Ask again about a dozen rows, chosen by their scores; keyed noise gives the same answer."""
    import pandas as pd
    import torch

    from mia_bench.evidence import Illustrated, Shown, choose, save_strips
    from mia_bench.runner import Pictures, collate

    scores = pd.read_parquet(cell.folder / "scores.parquet")
    scores = scores[~scores.calibration].reset_index(drop=True)
    chosen = choose(
        scores.score.to_numpy(), scores.is_member.to_numpy(), plan.experiment.options.eval.seed
    )
    records = scores.to_dict("records")
    rows = [(why, records[i]) for why, picked in chosen.items() for i in picked]
    items = [plan.items[row["sample_id"]] for _, row in rows]
    pictures = Pictures(items, plan.experiment.model.resolution)
    batch = collate([pictures[i] for i in range(len(items))])
    target = load_target(plan, cell.evaluation.subject)
    target.to(device_of(plan.experiment.options.trainer))
    assert isinstance(cell.attack, Illustrated)
    with torch.no_grad():
        images = cell.attack.evidence(target, batch)
    shown = [
        Shown(item.sample_id, item.caption, row["score"], row["is_member"], why)
        for item, (why, row) in zip(items, rows, strict=True)
    ]
    save_strips(tmp, images, shown, f"{cell.name} on {plan.split.source}")
    return {"rows": len(shown)}


def load_target(plan: Plan, subject: Subject) -> Target:
    """The model of `subject`, with the latent cache that all models of one base share."""
    from mia_bench.data.cache import TensorCache
    from mia_bench.quiet import hush

    hush()
    model = plan.experiment.model
    if subject.weights is not None and not subject.weights.is_dir():
        raise MiaError(f"{subject.weights} is missing. Delete {subject.folder} to train it again.")
    gigabytes = plan.experiment.options.paths.cache_gb
    limit = None if gigabytes is None else int(gigabytes * 1e9)
    store = TensorCache(plan.folder("cache", "latents", model.encoder_hash()), limit)
    unet = model.load_unet(subject.weights)
    return model.build(unet, plan.experiment.options.eval.seed, store)


def device_of(options: TrainerOptions) -> torch.device:
    """Where work outside a Trainer runs: this process's GPU when the trainer would use one."""
    import torch

    if options.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def encode_rows(plan: Plan, target: Target, role: Role, limit: int | None = None) -> Rows:
    """Latents and text of the rows of a role, on the CPU, through the latent cache."""
    import torch
    from torch.utils.data import DataLoader
    from tqdm import tqdm

    from mia_bench.batches import Rows
    from mia_bench.runner import Pictures, collate

    options, model = plan.experiment.options, plan.experiment.model
    items: list[Item] = [plan.items[sid] for sid in plan.rows(role)[:limit]]
    pictures = Pictures(items, model.resolution)
    loader = DataLoader(pictures, batch_size=options.eval.batch_size, collate_fn=collate)
    target.to(device_of(options.trainer))
    latents = []
    for batch in tqdm(loader, desc=f"encode {role}", leave=False):
        latents.append(target.view(batch).z0.cpu())
        target.forget()
    target.to("cpu")  # the trainer moves what it trains; the rest need not hold GPU memory
    cond = target.embed([item.own_caption for item in items])
    return Rows(tuple(item.sample_id for item in items), torch.cat(latents), cond)
