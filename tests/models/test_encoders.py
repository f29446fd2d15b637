"""The bundled codec and text encoder behind a target."""

from __future__ import annotations

import pytest
import torch

from mia_bench.models.stable_diffusion import StableDiffusion

TINY = StableDiffusion("bundled:tiny", resolution=64)


@pytest.mark.parametrize("half", ["encode", "decode"])
def test_the_autoencoder_computes_in_float32_whatever_surrounds_it(half):
    """As inside a training step in mixed precision."""
    codec = TINY.build(TINY.load_unet(), seed=0).latents
    given = torch.rand(1, 3 if half == "encode" else 4, 64, 64)
    exact = getattr(codec, half)(given)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(getattr(codec, half)(given), exact)


def test_the_padding_is_the_tokenizers():
    target = TINY.build(TINY.load_unet(), seed=0)
    assert target.pad_token == "<|endoftext|>"
    padded, plain = (target.embed([text]).hidden for text in ("", "<|endoftext|>"))
    torch.testing.assert_close(padded, plain)  # the literal text is read as the token itself
