"""The denoiser: captions as tokens, latents of unit variance."""

from __future__ import annotations

import pytest
import torch

from mia_bench.pretrain.autoencoder import build_autoencoder
from mia_bench.pretrain.denoiser import encode_corpus, tokenise_variants


def test_variants_keep_the_name_and_some_keywords(made, tokenizer):
    ids = tokenise_variants(made, tokenizer)
    texts = tokenizer.batch_decode(ids[7], skip_special_tokens=True)
    assert texts[0].replace(" ,", ",") == "red apple, fruit, number 7"
    assert all(text.startswith("red apple") for text in texts)
    assert len(set(texts)) > 2


def test_latents_have_unit_variance_and_their_mirror(made):
    torch.manual_seed(0)
    latents, scale = encode_corpus(build_autoencoder(16).eval(), made)
    assert latents.shape == (2, 40, 4, 4, 4)
    assert latents.std().item() == pytest.approx(1, abs=1e-4)
    assert scale > 0
    assert not torch.equal(latents[0], latents[1])
