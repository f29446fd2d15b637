"""The stage that generates the pictures of eval.own_outputs, as files that are read like any."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.execution.loading import scoring_model
from mia_bench.planning.parts.own_outputs import STEPS, OwnOutputs
from mia_bench.planning.plan import Plan
from mia_bench.storage.artifacts import get_or_build
from mia_bench.utils.memory import free
from mia_bench.utils.terminal import progress

if TYPE_CHECKING:
    from mia_bench.target import Target


def generate_own_outputs(plan: Plan) -> None:
    """The pictures of the target, where they are asked for and not here."""
    if plan.own_outputs is not None:
        get_or_build(plan.own_outputs.folder, partial(_generate, plan, plan.own_outputs))
        free()


def _generate(plan: Plan, own: OwnOutputs, folder: Path) -> dict[str, Any]:
    with scoring_model(plan, own.model) as target:
        draw_pictures(target, own, plan.experiment.options.eval.batch_size, folder)
    return {
        "model": own.model.key,
        "split": plan.split.content_hash,
        "sampler_steps": STEPS,
        "rows": [
            {"sample_id": sid, "source_id": source}
            for sid, source in zip(own.sample_id, own.source_id, strict=True)
        ],
    }


def draw_pictures(target: Target, own: OwnOutputs, batch_size: int, folder: Path) -> None:
    """One PNG file a row, from noise keyed by (seed, row's sample id)."""
    import torch
    from PIL import Image

    begins = range(0, len(own.source_id), batch_size)
    for begin in progress(begins, "generate pictures", "batch"):
        rows = slice(begin, begin + batch_size)
        keys = [(sid, 0) for sid in own.source_id[rows]]
        images = target.generate(own.caption[rows], target.seed, STEPS, keys=keys)
        pixels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        for i, picture in enumerate(pixels, begin):
            Image.fromarray(picture).save(own.picture(i, folder))
        target.forget()
