"""What the model makes of the most and of the least exposed pictures: `evidence=true`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image

from mia_bench.audit.experiment import AuditRun, CaptionChoice
from mia_bench.audit.findings import exposure
from mia_bench.audit.page.pictures import jpeg_uri
from mia_bench.audit.result import AuditResult

if TYPE_CHECKING:
    from mia_bench.display.pictures.evidence import Pixels

EVIDENCE_STEPS = 20
EVIDENCE_EACH = 3  # pictures at either end that are shown as the model sees them


@dataclass(frozen=True)
class ShownEvidence:
    """What the model makes of a picture: (name, picture) of every panel."""

    name: str
    panels: list[tuple[str, str]]


def shown_evidence(result: AuditResult) -> list[ShownEvidence]:
    """The most and the least exposed pictures as the model sees them, where that was asked for."""
    if not result.prepared.request.evidence:
        return []
    rows = exposure(result.scores.table)
    most, least = evidence_counts(len(rows))
    ends = pd.concat([rows.head(most), rows.tail(least)])
    panels = evidence_panels(result.prepared.run, ends.sample_id.tolist())
    return [
        ShownEvidence(name, [(panel, jpeg_uri(Image.fromarray(p))) for panel, p in each.items()])
        for name, each in zip(ends.name, panels, strict=True)
    ]


def evidence_counts(pictures: int) -> tuple[int, int]:
    """Of a set of so many pictures, how many of the most and of the least exposed are evidence."""
    return min(EVIDENCE_EACH, pictures), min(EVIDENCE_EACH, pictures // 2)


def evidence_evaluations(pictures: int, captions: CaptionChoice) -> int:
    """U-Net evaluations of `evidence_panels` for a set of so many pictures."""
    each = EVIDENCE_STEPS * (1 if captions.empty else 2)
    return each * sum(evidence_counts(pictures))


def evidence_panels(run: AuditRun, sample_ids: Sequence[str]) -> list[dict[str, Pixels]]:
    """Pictures of what the model does with each of these: restored after its centre was hidden
    (DRC), and where it has a caption generated from that. uint8 (H, W, 3) by the panel's name.

    Costs EVIDENCE_STEPS U-Net evaluations a picture for either.
    """
    import torch

    from mia_bench.attacks.drc import DRC
    from mia_bench.data.pictures.loader import batch_of
    from mia_bench.display.pictures.evidence import to_pixels
    from mia_bench.execution.loading import scoring_model

    plan, seed = run.plan, run.plan.experiment.options.eval.seed
    items = plan.items_of(sample_ids)
    batch = batch_of(items, plan.experiment.model.resolution)
    with scoring_model(plan, plan.target) as target, torch.no_grad():
        images = DRC(steps=EVIDENCE_STEPS).evidence(target, batch)
        captions = [item.caption for item in items]
        if any(caption.strip() for caption in captions):  # one rule gives them to all or to none
            images["generated from its caption"] = target.generate(captions, seed, EVIDENCE_STEPS)
    return [
        {name: to_pixels(image[row]) for name, image in images.items()} for row in range(len(items))
    ]
