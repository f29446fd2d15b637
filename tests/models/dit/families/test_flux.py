"""FLUX: squares as tokens, their places, and guidance as an input."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxPipeline
from network_spies import Spy

from mia_bench.models.dit.families.flux import FAMILY, places
from mia_bench.models.dit.family import pack


@pytest.mark.parametrize("guidance", [1.0, None])
def test_the_network_gets_tokens_places_and_guidance(guidance: float | None) -> None:
    z, hidden = torch.randn(2, 4, 8, 6), torch.randn(2, 5, 6)
    spy = Spy(2 * pack(z))
    call = FAMILY.call({}, guidance)
    found = call(spy, z, torch.tensor([0.25, 1.0]), hidden, {"pooled": torch.zeros(2, 3)})
    assert torch.equal(found, 2 * z)
    assert spy.told["timestep"].tolist() == [0.25, 1]
    assert spy.told["txt_ids"].shape == (5, 3)
    assert torch.equal(spy.told["img_ids"], places(4, 3))
    told = spy.told["guidance"]
    assert told is None if guidance is None else told.tolist() == [1, 1]


def test_places_are_diffusers() -> None:
    theirs = FluxPipeline._prepare_latent_image_ids(1, 3, 5, "cpu", torch.float32)
    assert torch.equal(places(3, 5), theirs)


def test_places_are_made_on_the_device() -> None:
    """No call waits for a copy from the CPU, which the meta device would refuse."""
    z, hidden = (torch.empty(size, device="meta") for size in ((2, 4, 8, 6), (2, 5, 6)))
    spy = Spy(pack(z))
    FAMILY.call({}, None)(spy, z, torch.ones(2, device="meta"), hidden, {"pooled": hidden})
    assert places(3, 5, "meta").device.type == spy.told["img_ids"].device.type == "meta"
