"""Qwen-Image: captions of their own lengths, channels of their own units."""

from __future__ import annotations

import pytest
import torch
from network_spies import Spy, SpyPipeline

from mia_bench.models.dit.families.qwen_image import FAMILY
from mia_bench.models.dit.family import pack


def test_captions_are_padded_to_one_length_and_cut_to_the_longest_of_a_call() -> None:
    hidden, mask = torch.randn(2, 5, 4), torch.tensor([[1, 1, 1, 0, 0], [1] * 5])
    pipe = SpyPipeline(hidden, mask)
    found, extra = FAMILY.embed(pipe, ["a", "b"], torch.device("cpu"), 9)
    assert found.shape == (2, 9, 4)
    assert extra["mask"].sum(1).tolist() == [3, 5]
    assert not found[0, 3:].any()
    z = torch.randn(1, 4, 8, 8)
    spy = Spy(pack(z))
    rows = {"mask": extra["mask"][:1]}
    FAMILY.call({}, None)(spy, z, torch.tensor([0.5]), found[:1], rows)
    assert spy.told["encoder_hidden_states"].shape[1] == 3
    assert spy.told["encoder_hidden_states_mask"].all()
    assert spy.told["img_shapes"] == [[(1, 4, 4)]]
    whole, extra = FAMILY.embed(SpyPipeline(hidden, None), ["a", "b"], torch.device("cpu"), 9)
    assert torch.equal(whole[:, :5], hidden)
    assert extra["mask"].sum(1).tolist() == [5, 5]


def test_units_are_means_and_deviations() -> None:
    config = {
        "z_dim": 2,
        "temperal_downsample": [False, True],
        "latents_mean": [1, 2],
        "latents_std": [2, 4],
    }
    units = FAMILY.units(config)
    assert (units.channels, units.shrink, units.shift) == (2, 4, [1, 2])
    assert units.scale == pytest.approx([0.5, 0.25])
