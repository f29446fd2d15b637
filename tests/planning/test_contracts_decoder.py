"""Masks by the gradients of a decoder are refused where images are their own latents."""

from __future__ import annotations

import pytest

from mia_bench.attacks.pullback.sima_pullback import SimAPullback
from mia_bench.attacks.sima import SimA
from mia_bench.models.ddpm.builder import DDPM
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.planning.contracts import check_decoder
from mia_bench.utils.errors import MiaError


def test_pixel_space_is_refused_in_the_plan(small, tmp_path) -> None:
    words = ("model=ddpm", "finetune.from_scratch=true")
    with pytest.raises(MiaError, match=r"sima_pullback: the gradients of a decoder are needed"):
        small("attack=[sima,sima_pullback]", *words, outputs=tmp_path)
    assert small("attack=sima", *words, outputs=tmp_path).attacks.keys() == {"sima"}


def test_what_has_a_decoder_is_served() -> None:
    attacks = {"sima": SimA(), "sima_pullback": SimAPullback()}
    pixels = DDPM(path=None, resolution=16)
    latents = object.__new__(StableDiffusion)  # says nothing of a decoder, so it has one
    check_decoder(attacks, latents)
    check_decoder({"sima": SimA()}, pixels)
    with pytest.raises(MiaError, match="every entry has the same influence"):
        check_decoder(attacks, pixels)
