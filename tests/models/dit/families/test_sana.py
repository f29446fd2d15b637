"""Sana: its own scale of time, an instruction before captions alone, no learned variance."""

from __future__ import annotations

import torch
from network_spies import Spy, SpyPipeline

from mia_bench.models.dit.families.sana import FAMILY


def test_time_is_scaled_and_the_variance_left_out() -> None:
    z, mask = torch.randn(2, 4, 8, 8), torch.ones(2, 5, dtype=torch.bool)
    spy = Spy(torch.cat([z, z + 1], 1))
    call = FAMILY.call({"in_channels": 4, "timestep_scale": 0.001}, None)
    found = call(spy, z, torch.tensor([0.25, 1.0]), torch.zeros(2, 5, 3), {"mask": mask})
    assert torch.equal(found, z)
    assert torch.allclose(spy.told["timestep"], torch.tensor([0.25, 1.0]))


def test_the_empty_caption_is_the_pipelines_null_condition() -> None:
    positive, negative = torch.ones(2, 5, 3), torch.zeros(2, 5, 3)
    mask, null_mask = torch.ones(2, 5), torch.tensor([[1, 0, 0, 0, 0]] * 2)
    pipe = SpyPipeline(positive, mask, negative, null_mask)
    hidden, extra = FAMILY.embed(pipe, ["boat", ""], torch.device("cpu"), 5)
    assert pipe.told["complex_human_instruction"] == ("Enhance:",)
    assert hidden.sum(dim=(1, 2)).tolist() == [15, 0]
    assert extra["mask"].sum(1).tolist() == [5, 1]
    plain = SpyPipeline(positive, mask, None, None)
    hidden, _ = FAMILY.embed(plain, ["boat", "dog"], torch.device("cpu"), 5)
    assert torch.equal(hidden, positive)
    assert plain.told["do_classifier_free_guidance"] is False
