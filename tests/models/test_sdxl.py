"""SDXL's text stack: the null condition as the pipeline asks for it, and the size conditions."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from mia_bench.models.sdxl import TwoClipTexts


@pytest.fixture
def texts(narrow):
    """texts(zero_null): the random encoders of a narrow pipeline."""
    folder = narrow("sdxl")

    def load() -> list:
        kinds = {"": CLIPTextModel, "_2": CLIPTextModelWithProjection}
        return [
            (
                kind.from_pretrained(folder / f"text_encoder{end}"),
                CLIPTokenizer.from_pretrained(folder / f"tokenizer{end}"),
            )
            for end, kind in kinds.items()
        ]

    return partial(TwoClipTexts, load, 64)


@pytest.mark.long
def test_an_empty_caption_is_zero_where_the_pipeline_says_so(texts) -> None:
    hidden, extra = texts(zero_null=True).embed(["", "a red boat"])
    assert not hidden[0].any()
    assert not extra["text_embeds"][0].any()
    assert hidden[1].any()
    encoded, extra = texts(zero_null=False).embed(["", "a red boat"])
    assert encoded[0].any()
    assert extra["text_embeds"][0].any()
    assert torch.equal(encoded[1], hidden[1])


def test_sizes_are_those_of_an_image_neither_larger_nor_cropped(texts) -> None:
    _, extra = texts(zero_null=True).embed(["a red boat"])
    assert extra["time_ids"].tolist() == [[64, 64, 0, 0, 64, 64]]
