"""CLIP's tokenizer without a hub gives open_clip's ids."""

from __future__ import annotations

import open_clip

from mia_bench.pretrain.denoiser import TOKENS


def test_token_ids_are_open_clips(tokenizer):
    texts = ["growing heart, multiple, affection", "pound banknote, british, 123's", ""]
    ours = tokenizer(texts, padding="max_length", max_length=TOKENS).input_ids
    theirs = open_clip.tokenize(texts, context_length=TOKENS).tolist()
    for row, expected in zip(ours, theirs, strict=True):
        used = [token for token in expected if token]
        assert row[: len(used)] == used
        assert set(row[len(used) :]) <= {tokenizer.eos_token_id}


def test_texts_are_cut_to_the_given_length(tokenizer):
    ids = tokenizer("word " * 200, truncation=True).input_ids
    assert len(ids) == TOKENS
    assert ids[-1] == tokenizer.eos_token_id
