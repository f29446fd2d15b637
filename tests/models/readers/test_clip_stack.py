"""Text encoders of a directory, against those that diffusers' pipeline loads."""

from __future__ import annotations

import pytest
import torch
from diffusers import DiffusionPipeline

from mia_bench.models.readers.clip_stack import ClipStack
from mia_bench.models.readers.parts import Parts
from mia_bench.models.readers.unet_pipeline import UnetPipeline


@pytest.mark.first_look
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_encoders_are_those_of_the_pipeline(family, narrow):
    stack = ClipStack(UnetPipeline(Parts(narrow(family)), "here"), {}, None)
    pipe = DiffusionPipeline.from_pretrained(narrow(family))
    for part in stack.pipeline.encoders:
        encoder, tokenizer = stack.encoder(part, torch.float32)
        theirs = getattr(pipe, part)
        assert type(encoder) is type(theirs)
        for name, value in theirs.state_dict().items():
            assert torch.equal(encoder.state_dict()[name], value)
        assert tokenizer(["two dogs"]).input_ids == pipe.tokenizer(["two dogs"]).input_ids
    assert stack.words() == []
    hidden, extra = stack.text(64, torch.float32).embed(["two dogs", ""])
    assert hidden.shape[0] == 2
    assert ("time_ids" in extra) == (family == "sdxl")
