"""Parts of a transformer's directory, loaded by the classes that its index names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch

from mia_bench.models.dit.directory import TransformerDirectory
from mia_bench.models.dit.families import FAMILIES
from mia_bench.models.dit.loading import TransformerParts
from mia_bench.utils.errors import MiaError

Folder = Callable[[str], Path]
SD3 = FAMILIES["StableDiffusion3Pipeline"]


def test_networks_and_text_are_those_of_diffusers(saved_dit: Folder) -> None:
    parts = TransformerParts(TransformerDirectory(saved_dit("sd3"), "here", SD3), {})
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(saved_dit("sd3"))
    text = parts.pipeline(torch.float32)
    assert text.transformer is None
    for ours, theirs in (
        (parts.transformer(torch.float32), pipe.transformer),
        (parts.vae(slicing=True, tiling=False), pipe.vae),
        (text.text_encoder_3, pipe.text_encoder_3),
    ):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value)


def test_a_class_that_is_not_of_transformers_is_never_loaded(
    saved_dit: Folder, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved_dit("sd3"), tmp_path / "sd3")
    index = json.loads((folder / "model_index.json").read_text())
    index["tokenizer"] = ["somewhere", "Evil"]
    (folder / "model_index.json").write_text(json.dumps(index))
    parts = TransformerParts(TransformerDirectory(folder, "here", SD3), {})
    with pytest.raises(MiaError, match=r"here names somewhere\.Evil as its tokenizer"):
        parts.text_part("tokenizer", torch.float32)
