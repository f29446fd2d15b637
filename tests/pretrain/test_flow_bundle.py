"""What the package ships of a flow-matching model: smaller, and read as the whole one."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline
from safetensors.torch import load_file
from transformers import CLIPTextModel

from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.models.hub import BUNDLED
from mia_bench.pretrain.flow import TOKENS, build_text, build_transformer
from mia_bench.pretrain.flow_bundle import LETTERS, trim_tokenizer, with_parts, write_bundle
from mia_bench.pretrain.tokenizer import build_tokenizer

CAPTIONS = ("red apple, fruit", "blue heart, love", "automobile, car, vehicle", "")
UNSEEN = "chimpanzee orchestra"


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TOKENS)


def test_parts_of_merges_are_kept():
    parents = {"abc": ("ab", "c"), "ab": ("a", "b")}
    assert with_parts(["abc"], parents) == {"abc", "ab", "a", "b", "c"}


def test_captions_are_read_as_before_and_others_lose_nothing(tokenizer, tmp_path):
    kept = trim_tokenizer(tokenizer, CAPTIONS, tmp_path)
    trimmed = type(tokenizer).from_pretrained(tmp_path)
    assert LETTERS < len(kept) == len(trimmed) < 1000
    options = {"padding": "max_length", "max_length": TOKENS, "truncation": True}
    for caption in CAPTIONS:
        ids = trimmed(caption, **options).input_ids
        assert [kept[i] for i in ids] == tokenizer(caption, **options).input_ids
    whole = trimmed(UNSEEN).input_ids
    assert len(whole) > len(tokenizer(UNSEEN).input_ids)
    assert trimmed.decode(whole, skip_special_tokens=True).strip() == UNSEEN
    assert trimmed.unk_token_id not in whole[1:-1]


@pytest.mark.long
def test_a_bundle_embeds_and_predicts_as_the_whole_pipeline(tokenizer, tmp_path):
    torch.manual_seed(0)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL.from_pretrained(BUNDLED / "tiny" / "vae", torch_dtype=torch.float32),
        text_encoder=CLIPTextModel.from_pretrained(BUNDLED / "tiny" / "text_encoder"),
        tokenizer=tokenizer,
        text_encoder_2=build_text(tokenizer),
        tokenizer_2=tokenizer,
        transformer=build_transformer(),
    )
    pipeline.to(torch.float16).save_pretrained(tmp_path / "whole")
    write_bundle(tmp_path / "whole", CAPTIONS, tmp_path / "bundle")
    files = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10e6
    rows = load_file(tmp_path / "bundle" / "text_encoder_2" / "model.safetensors")
    assert len(rows["shared.weight"]) < 1000
    assert json.loads((tmp_path / "bundle" / "model_index.json").read_text())["_shared"]
    targets = []
    for name in ("whole", "bundle"):
        model = DiffusionTransformer(str(tmp_path / name), 64, chunk=8, tokens=TOKENS)
        model.base_hash()
        targets.append(model.build(model.load_unet(), seed=0))
    conditions = [target.embed(CAPTIONS) for target in targets]
    assert torch.equal(conditions[0].hidden, conditions[1].hidden)
    z = torch.randn(4, 4, 16, 16)
    with torch.no_grad():
        answers = [t.predict_noise(z, 300, c) for t, c in zip(targets, conditions, strict=True)]
    assert torch.equal(*answers)
