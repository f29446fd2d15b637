"""Tokens of squares, captions of one length, null conditions."""

from __future__ import annotations

import torch
from diffusers import FluxPipeline

from mia_bench.models.dit.family import kl_units, pack, padded, unpack, with_null


def test_packing_is_diffusers_and_comes_back() -> None:
    z = torch.randn(2, 4, 8, 6)
    assert torch.equal(pack(z), FluxPipeline._pack_latents(z, 2, 4, 8, 6))
    assert torch.equal(unpack(pack(z), 8, 6), z)


def test_captions_are_padded_with_zeros_and_cut() -> None:
    hidden, mask = padded([torch.ones(2, 3), torch.ones(5, 3)], 4)
    assert hidden.sum(dim=(1, 2)).tolist() == [6, 12]
    assert mask.tolist() == [[True, True, False, False], [True] * 4]


def test_empty_captions_take_the_null_condition() -> None:
    ones, zeros, mask = torch.ones(2, 3, 1), torch.zeros(2, 3, 1), torch.ones(2, 3)
    hidden, kept = with_null((ones, mask), (zeros, 0 * mask), ["", "a"])
    assert hidden.flatten(1).sum(1).tolist() == [0, 3]
    assert kept.sum(1).tolist() == [0, 3]


def test_units_of_an_autoencoder() -> None:
    config = {"block_out_channels": [1, 2, 3, 4], "latent_channels": 16, "scaling_factor": 1.5}
    units = kl_units(config)
    assert (units.channels, units.shrink, units.shift, units.scale) == (16, 8, 0, 1.5)
    assert kl_units(config | {"shift_factor": 0.1}).shift == 0.1
