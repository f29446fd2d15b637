"""Z-Image: data fraction, lists, and a negated output."""

from __future__ import annotations

import torch
from network_spies import Spy, SpyPipeline

from mia_bench.models.dit.families.z_image import FAMILY


def test_the_output_is_negated_and_time_counts_data() -> None:
    z, hidden = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 3)
    mask = torch.tensor([[True] * 2 + [False] * 3, [True] * 5])
    spy = Spy([row.unsqueeze(1) for row in z])
    found = FAMILY.call({}, None)(spy, z, torch.tensor([0.25, 1.0]), hidden, {"mask": mask})
    assert torch.equal(found, -z)
    images, time, captions = spy.inputs
    assert [image.shape for image in images] == [(4, 1, 8, 8)] * 2
    assert time.tolist() == [0.75, 0]
    assert [len(caption) for caption in captions] == [2, 5]


def test_the_list_of_captions_is_not_written_to() -> None:
    captions, rows = ["a boat", "two dogs"], [torch.ones(2, 3), torch.ones(7, 3)]
    hidden, extra = FAMILY.embed(SpyPipeline(rows, []), captions, torch.device("cpu"), 5)
    assert captions == ["a boat", "two dogs"]
    assert hidden.shape == (2, 5, 3)
    assert extra["mask"].sum(1).tolist() == [2, 5]  # the longer one is cut
