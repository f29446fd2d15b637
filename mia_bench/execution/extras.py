"""The stages that a run may have beyond its scores: evidence of some attacks, and utility."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.config.schema import Evaluation
from mia_bench.data.split.roles import Role
from mia_bench.execution.loading import device_of, load_model, scoring_model
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import ModelSpec, RunSpec
from mia_bench.storage import layout
from mia_bench.storage.artifacts import get_or_build
from mia_bench.storage.files import write_json
from mia_bench.utils.memory import free

if TYPE_CHECKING:
    from mia_bench.evaluation.utility import UtilityRows
    from mia_bench.target import Target


def illustrate(plan: Plan) -> None:
    """Pictures, below the run, of what an attack that can show it has reconstructed."""
    from mia_bench.attacks import ProducesEvidence

    for run in plan.runs:
        if isinstance(run.attack, ProducesEvidence):
            get_or_build(run.folder / layout.EVIDENCE_FOLDER, partial(_illustrate, plan, run))
            free()


def _illustrate(plan: Plan, run: RunSpec, folder: Path) -> dict[str, Any]:
    """Query about a few rows again, which noise keyed by sample makes repeatable, and draw them."""
    import torch

    from mia_bench.attacks import ProducesEvidence
    from mia_bench.data.pictures.loader import batch_of
    from mia_bench.display.pictures.evidence import EvidenceRow, save_strips

    rows = evidence_rows(run.folder, plan.experiment.options.eval.seed)
    items = plan.items_of([row["sample_id"] for row in rows])
    batch = batch_of(items, plan.experiment.model.resolution)
    assert isinstance(run.attack, ProducesEvidence)
    with scoring_model(plan, run.evaluation.model) as target, torch.no_grad():
        images = run.attack.evidence(target, batch)
    drawn = [
        EvidenceRow(item.sample_id, item.caption, row["score"], row["is_member"], row["why"])
        for item, row in zip(items, rows, strict=True)
    ]
    save_strips(folder, images, drawn, f"{run.name} on {plan.split.source}")
    return {"rows": len(drawn)}


def evidence_rows(run_folder: Path, seed: int) -> list[dict[str, Any]]:
    """About sixteen evaluation rows of scores.parquet, chosen by their scores; `why` says how.

    The members and the non-members of which the attack is surest come first, in turn, so that
    they lie side by side on a sheet of two columns.
    """
    from itertools import zip_longest

    import pandas as pd

    from mia_bench.display.pictures.evidence import choose

    scores = pd.read_parquet(run_folder / layout.SCORES_FILE)
    scores = scores[~scores.calibration].reset_index(drop=True)
    chosen = choose(scores.score.to_numpy(), scores.is_member.to_numpy(), seed)
    records = scores.to_dict("records")
    reasons = {i: why for why, places in chosen.items() for i in places}
    pairs = zip_longest(chosen["top"], chosen["bottom"])
    surest = [i for pair in pairs for i in pair if i is not None]
    return [
        {"why": reasons[i], **{str(k): v for k, v in records[i].items()}}
        for i in (*surest, *chosen["worst"], *chosen["random"])
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
    from mia_bench.display.pictures.contact_sheet import save_sheet
    from mia_bench.evaluation.utility import assess
    from mia_bench.utils.precision import exactly

    with exactly(target.device):
        figures, images = assess(
            target, rows, resolution, options.seed, options.batch_size, options.utility_clip
        )
    write_json(folder / layout.UTILITY_FILE, {**about, **figures})
    save_sheet(images, folder / layout.SAMPLES_FILE)
