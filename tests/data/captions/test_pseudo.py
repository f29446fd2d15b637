"""captioner.py with a random BLIP of a few thousand weights, saved as the hub has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mia_bench.data.captions.pseudo import describe
from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.errors import Missing

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "a", "red", "blue", "fish", "house", "of", "the", "in"]


@pytest.fixture(scope="module")
def captioner(tmp_path_factory) -> Path:
    """A folder with config, processor and safetensors weights."""
    import torch
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder = tmp_path_factory.mktemp("blip")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    size["num_hidden_layers"] = 1
    text = {**size, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "projection_dim": 16}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text["max_position_embeddings"] = 64
    vision = {**size, "image_size": 32, "patch_size": 16, "projection_dim": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(folder, safe_serialization=True)
    processor = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def test_captions_are_written_once_and_asked_with(captioner, folder_run, tmp_path, monkeypatch):
    choice = f"data.captions='pseudo:{captioner}'"
    plan = make_plan(folder_run(choice, outputs=tmp_path))
    rows = plan.rows("target_member", "target_nonmember")
    said = {sid: plan.items[sid].caption for sid in rows}
    assert all(set(text.split()) <= set(WORDS) for text in said.values())
    assert any(said.values())
    own = make_plan(folder_run(outputs=tmp_path))
    assert plan.target.key == own.target.key
    assert plan.runs[0].evaluation.folder != own.runs[0].evaluation.folder

    def never(*_: object) -> None:
        raise AssertionError("the captioner was asked again")

    monkeypatch.setattr("mia_bench.data.captions.pseudo.describe", never)
    again = make_plan(folder_run(choice, outputs=tmp_path))
    assert {sid: again.items[sid].caption for sid in rows} == said


@pytest.mark.long
def test_the_same_pictures_get_the_same_captions(captioner, folder_run, tmp_path) -> None:
    items = list(make_plan(folder_run(outputs=tmp_path)).items.values())[:20]
    assert describe(captioner, items) == describe(captioner, items[:3]) + describe(
        captioner, items[3:]
    )


def test_a_plan_asks_no_captioner(captioner, folder_run, tmp_path: Path) -> None:
    experiment = folder_run(
        f"data.captions='pseudo:{captioner}'", "plan_only=true", outputs=tmp_path
    )
    with pytest.raises(Missing, match=r"captions of .* are not written yet: a run writes them"):
        make_plan(experiment)
    assert not (tmp_path / "captions").exists()


def test_weights_that_are_no_safetensors_are_not_loaded(folder_run, tmp_path: Path) -> None:
    (tmp_path / "blip").mkdir()
    (tmp_path / "blip/pytorch_model.bin").write_bytes(b"pickle")
    experiment = folder_run(f"data.captions='pseudo:{tmp_path / 'blip'}'", outputs=tmp_path)
    with pytest.raises(Missing, match=r"no \.safetensors file is in"):
        make_plan(experiment)


def test_a_captioner_that_is_nowhere(folder_run, tmp_path: Path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    experiment = folder_run("data.captions='pseudo:owner/blip'", outputs=tmp_path)
    with pytest.raises(Missing, match=r"hf download owner/blip"):
        make_plan(experiment)


def test_colours_are_named_without_any_weights(folder_run, tmp_path):
    """The same captions for those who are trained on and those who are asked about."""
    plan = make_plan(folder_run("data.captions=pseudo:colours", outputs=tmp_path))
    said = [plan.items[sid].caption for sid in plan.rows("target_member", "target_nonmember")]
    assert all(" picture" in text for text in said)
    trained = make_plan(
        folder_run(
            "mitigation=caption_machine",
            "mitigation.caption_machine.captioner=colours",
            outputs=tmp_path,
        )
    )
    assert trained.target.key != plan.target.key


def test_a_plan_makes_captions_by_rule_and_writes_none(folder_run, tmp_path):
    words = (
        *("data.captions=pseudo:colours", "mitigation=caption_machine"),
        "mitigation.caption_machine.captioner=colours",
    )
    plan = make_plan(folder_run(*words, "plan_only=true", outputs=tmp_path))
    assert not (tmp_path / "captions").exists()
    run = make_plan(folder_run(*words, outputs=tmp_path))
    assert (tmp_path / "captions").is_dir()
    assert plan.target.key == run.target.key
    assert [item.caption for item in plan.items.values()] == [
        item.caption for item in run.items.values()
    ]
