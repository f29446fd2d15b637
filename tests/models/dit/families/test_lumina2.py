"""Lumina 2: data fraction and a negated output; a system prompt before captions alone."""

from __future__ import annotations

import torch
from network_spies import Spy, SpyPipeline

from mia_bench.models.dit.families.lumina2 import FAMILY


def test_the_output_is_negated_and_time_counts_data() -> None:
    z, mask = torch.randn(2, 4, 8, 8), torch.ones(2, 5, dtype=torch.bool)
    spy = Spy(z)
    found = FAMILY.call({}, None)(
        spy, z, torch.tensor([0.25, 1.0]), torch.zeros(2, 5, 3), {"mask": mask}
    )
    assert torch.equal(found, -z)
    assert spy.told["timestep"].tolist() == [0.75, 0]
    assert FAMILY.reversed_training
    assert FAMILY.sequence_length((16, 8, 8)) == 16  # as diffusers' pipeline counts


def test_the_empty_caption_is_the_pipelines_null_condition() -> None:
    mask = torch.ones(2, 5)
    pipe = SpyPipeline(torch.ones(2, 5, 3), mask, torch.zeros(2, 5, 3), mask)
    hidden, extra = FAMILY.embed(pipe, ["", "boat"], torch.device("cpu"), 5)
    assert hidden.sum(dim=(1, 2)).tolist() == [0, 15]
    assert extra["mask"].dtype == torch.bool
