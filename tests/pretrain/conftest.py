"""What the pre-training tests share: open_clip's tokenizer and a small random corpus."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.pretrain.corpus import Corpus
from mia_bench.pretrain.denoiser import TOKENS
from mia_bench.pretrain.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TOKENS)


@pytest.fixture
def made() -> Corpus:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    parts = tuple(("red apple", "fruit", f"number {i}") for i in range(40))
    return Corpus(images, parts, np.arange(40) < 4)
