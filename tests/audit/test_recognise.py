"""Models by few words: the package's, folders, LoRAs with and without their base."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from mia_bench.audit.recognise import recognise
from mia_bench.models.hub import BUNDLED
from mia_bench.utils.errors import MiaError


@pytest.fixture
def pipeline(tmp_path):
    """A copy of the bundled pipeline's configurations, which is all that is looked at."""
    folder = tmp_path / "mine"
    shutil.copytree(BUNDLED / "tiny", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "unet" / "config.json").write_text(json.dumps({"_class_name": "U"}))
    return folder


@pytest.fixture
def lora(tmp_path):
    folder = tmp_path / "adapters"
    folder.mkdir()
    save_file(
        {"unet.x.lora_A.weight": torch.zeros(1, 2)}, folder / "pytorch_lora_weights.safetensors"
    )
    return folder


def test_a_model_of_the_package():
    model = recognise("tiny", None)
    assert model.words == ("model=tiny",)
    assert model.base is None
    assert "base=" in model.remark


def test_a_folder_whose_files_name_a_base_that_is_here(pipeline):
    base = BUNDLED / "tiny"
    (pipeline / "unet" / "config.json").write_text(
        json.dumps({"_name_or_path": str(base / "unet")})
    )
    model = recognise(str(pipeline), None)
    assert model.words == ("model=diffusers", f"model.path='{pipeline}'")
    assert model.base == ("model=diffusers", f"model.path='{base}'")


def test_a_base_that_is_named_and_not_here_is_asked_for(pipeline):
    (pipeline / "README.md").write_text("---\nbase_model: some/where\n---\n")
    model = recognise(str(pipeline), None)
    assert model.base is None
    assert "base=some/where" in model.remark


def test_a_folder_does_not_name_itself(pipeline):
    named = json.dumps({"_name_or_path": str(pipeline)})
    (pipeline / "unet" / "config.json").write_text(named)
    assert recognise(str(pipeline), None).base is None


def test_a_lora_takes_the_base_that_is_given(lora):
    model = recognise(str(lora), "tiny")
    assert model.words == ("model=tiny", f"model.lora='{lora}'")
    assert model.base == ("model=tiny",)


def test_a_lora_file_is_told_from_a_checkpoint(lora):
    file = lora / "pytorch_lora_weights.safetensors"
    assert recognise(str(file), "tiny").words[1] == f"model.lora='{file}'"
    save_file({"model.diffusion_model.x": torch.zeros(1)}, lora / "whole.safetensors")
    whole = recognise(str(lora / "whole.safetensors"), None)
    assert whole.words[0] == "model=diffusers"


def test_a_lora_without_its_base_is_a_sentence(lora):
    with pytest.raises(MiaError, match=r"is a LoRA.*add base="):
        recognise(str(lora), None)


def test_folders_that_are_no_pipeline(tmp_path):
    with pytest.raises(MiaError, match="no diffusers folder"):
        recognise(str(tmp_path), None)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(MiaError, match="UNet2DConditionModel alone"):
        recognise(str(tmp_path), None)


def test_a_hub_id_is_left_to_the_hub():
    assert recognise("some/where", None).words == ("model=diffusers", "model.path='some/where'")


def test_quotes_in_a_path_cannot_end_it(tmp_path, experiment):
    folder = tmp_path / "it's ${oc.env:HOME} here"
    shutil.copytree(BUNDLED / "tiny", folder)
    model = recognise(str(folder), None)
    words = [*model.words, "model.finetune=false", "calibration=split"]
    assert experiment(*words).model.path == str(folder)
