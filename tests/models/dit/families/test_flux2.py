"""FLUX.2: places in four coordinates, squares of cells joined, its sampler's shift."""

from __future__ import annotations

import torch
from diffusers import Flux2KleinPipeline
from network_spies import Spy

from mia_bench.models.dit.families.flux2 import KLEIN, places, sampling_shift
from mia_bench.models.dit.family import joined, parted


def test_the_network_gets_tokens_and_their_places() -> None:
    z, hidden = torch.randn(2, 8, 4, 3), torch.randn(2, 5, 6)
    spy = Spy(2 * z.flatten(2).transpose(1, 2))
    found = KLEIN.call({}, None)(spy, z, torch.tensor([0.25, 1.0]), hidden, {})
    assert torch.equal(found, 2 * z)
    assert spy.told["timestep"].tolist() == [0.25, 1]
    assert spy.told["guidance"] is None
    assert torch.equal(spy.told["img_ids"], Flux2KleinPipeline._prepare_latent_ids(z))
    assert torch.equal(spy.told["txt_ids"], Flux2KleinPipeline._prepare_text_ids(hidden))
    assert places(2, 2, 1).tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0]]


def test_places_are_made_on_the_device() -> None:
    assert places(2, 2, 1, "meta").device.type == "meta"


def test_joined_cells_are_diffusers_patches() -> None:
    z = torch.randn(2, 3, 4, 6)
    assert torch.equal(joined(z), Flux2KleinPipeline._patchify_latents(z))
    assert torch.equal(parted(joined(z)), z)


def test_the_shift_grows_with_the_image() -> None:
    assert sampling_shift(1024, 10) < sampling_shift(4096, 10)
