"""Token ids without a text encoder are those that the tokenizer of transformers gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from mia_bench.models.hub import BUNDLED
from mia_bench.models.readers.caption_tokens import CutsCaptions, whole_ids
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.planning.caption_remarks import caption_remarks

CAPTIONS = ["a cat", "A  CAT", "drawing " * 100, "", "\u732b \u0643\u0644\u0628"]
FOLDER = BUNDLED / "tiny" / "tokenizer"


@pytest.fixture(scope="module")
def reference() -> list[tuple[int, ...]]:
    tokenizer = CLIPTokenizer.from_pretrained(FOLDER, local_files_only=True)
    return [tuple(row) for row in tokenizer(CAPTIONS, truncation=False, verbose=False).input_ids]


def test_ids_are_those_of_transformers(reference: list[tuple[int, ...]]) -> None:
    assert whole_ids(FOLDER, CAPTIONS) == reference
    assert len(reference[2]) > 77  # nothing is cut off


def test_a_tokenizer_of_old_files_gives_the_same(reference, tmp_path: Path) -> None:
    old = tmp_path / "tokenizer"
    shutil.copytree(FOLDER, old)
    model = json.loads((old / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (old / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    (old / "merges.txt").write_text("\n".join(merges), encoding="utf-8")
    (old / "tokenizer.json").unlink()
    assert whole_ids(old, CAPTIONS) == reference


def test_a_model_says_how_much_it_reads() -> None:
    model = StableDiffusion("bundled:tiny", 64)
    assert isinstance(model, CutsCaptions)
    ids, most = model.caption_tokens(["a cat"])
    assert most == 32
    assert len(ids[0]) == 4


def test_a_single_file_has_the_words_of_clip(tmp_path: Path) -> None:
    """Its configurations have no vocabulary: captions that are cut were not told of."""
    file = tmp_path / "model.safetensors"
    names = ("model.diffusion_model.x", "first_stage_model.x", "cond_stage_model.transformer.x")
    save_file({name: torch.zeros(1) for name in names}, file)
    model = StableDiffusion(str(file), 512)
    ids, most = model.caption_tokens(["a cat", "drawing " * 100])
    assert ids == whole_ids(FOLDER, ["a cat", "drawing " * 100])
    assert most == 77
    (remark,) = caption_remarks(model, ["a cat", "drawing " * 100])
    assert remark.startswith("captions: 1 of 2 are longer than the 77 tokens")
