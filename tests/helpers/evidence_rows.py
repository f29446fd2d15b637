"""Rows and pictures of an evidence sheet, for tests of how they are drawn."""

from __future__ import annotations

import torch

from mia_bench.display.pictures.evidence import PANELS, EvidenceRow


def shown(i: int = 0, **changes) -> EvidenceRow:
    row = {
        "sample_id": f"openmoji:{i:012x}",
        "caption": "a red hat",
        "score": 0.5,
        "is_member": i % 2 == 0,
        "why": "top",
    }
    return EvidenceRow(**(row | changes))


def pictures(n: int, size: int = 8) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(n, 3, size, size, generator=generator) * 2 - 1 for name in PANELS}
