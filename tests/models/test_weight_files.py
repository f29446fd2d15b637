"""Hashes of large files are remembered for as long as the file is the same."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from mia_bench.models import weight_files
from mia_bench.models.weight_files import (
    contents,
    conversion,
    read_config,
    remembered_hash,
    weights,
)
from mia_bench.storage.hashing import hash_file
from mia_bench.utils.errors import MiaError


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """The files that were read, with the cache in a folder of this test and every file large."""
    read = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weight_files, "MIN_REMEMBERED_BYTES", 1)
    monkeypatch.setattr(
        weight_files, "hash_file", lambda path: read.append(path.name) or hash_file(path)
    )
    return read


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"first weights")
    set_age(path, 60)
    return path


def set_age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_file_is_read_once(counted, file):
    assert remembered_hash(file) == remembered_hash(file) == hash_file(file)
    assert counted == ["model.safetensors"]


def test_links_of_a_hub_cache_are_one_file(counted, file, tmp_path):
    (tmp_path / "link.safetensors").symlink_to(file)
    assert remembered_hash(tmp_path / "link.safetensors") == remembered_hash(file)
    assert len(counted) == 1


@pytest.mark.parametrize("content", [b"other weights", b"longer than the first"])
def test_a_changed_file_is_read_again(counted, file, content):
    before = remembered_hash(file)
    file.write_bytes(content)
    set_age(file, 30)
    assert remembered_hash(file) == hash_file(file) != before
    assert len(counted) == 2


def test_a_file_just_written_is_not_remembered(counted, file):
    """Its clock may not move on before it is written again, with as many bytes."""
    set_age(file, 0)
    remembered_hash(file)
    remembered_hash(file)
    assert len(counted) == 2


@pytest.mark.usefixtures("counted")
def test_a_broken_or_unwritable_note_costs_a_read(file, tmp_path, monkeypatch):
    remembered_hash(file)
    (note,) = (tmp_path / "cache").rglob("*.json")
    note.write_text("{broken")
    assert remembered_hash(file) == hash_file(file)
    note.write_text(json.dumps({"stamp": "other", "hash": "wrong"}))
    assert remembered_hash(file) == hash_file(file)
    (tmp_path / "blocked").write_text("a file where the cache would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert remembered_hash(file) == hash_file(file)


def test_small_files_leave_no_note(tmp_path, monkeypatch, file):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    contents([file])
    assert not (tmp_path / "cache").exists()


def test_a_small_file_is_read_once_in_a_process_until_it_is_written_to(monkeypatch, file):
    read = []
    monkeypatch.setattr(
        weight_files, "hash_file", lambda path: read.append(path.name) or hash_file(path)
    )
    assert remembered_hash(file) == remembered_hash(file)
    assert len(read) == 2  # it was made just now
    now = time.time()
    monkeypatch.setattr(weight_files.time, "time", lambda: now + 60)
    before = remembered_hash(file)
    assert remembered_hash(file) == before
    assert len(read) == 3
    file.write_bytes(b"other weights")  # as many bytes, and the clock set back
    set_age(file, 0)
    assert remembered_hash(file) == hash_file(file) != before


def test_an_index_cannot_lead_out_of_its_folder(tmp_path):
    (tmp_path / "unet").mkdir()
    index = tmp_path / "unet" / "model.safetensors.index.json"
    (tmp_path / "secret.safetensors").write_bytes(b"")
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    with pytest.raises(MiaError, match="1 of 1 shards are missing"):
        weights(tmp_path, "unet")
    index.write_text("[]")
    with pytest.raises(MiaError, match="not the index"):
        weights(tmp_path, "unet")


def test_pickles_are_converted_by_the_class_that_the_folder_names(tmp_path):
    """By model_index.json or by the part itself; a name alone gets into the command."""
    (tmp_path / "text_encoder").mkdir()
    assert "from transformers import CLIPTextModel as N" in conversion(tmp_path / "text_encoder")
    index = {"text_encoder": ["transformers", "T5EncoderModel"], "vae": ["os", "system"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert "from transformers import T5EncoderModel as N" in conversion(tmp_path / "text_encoder")
    assert "from diffusers import AutoencoderKL as N" in conversion(tmp_path / "vae")
    for named, used in (("SD3Transformer2DModel",) * 2, ("a; import os", "UNet2DConditionModel")):
        (tmp_path / "transformer").mkdir(exist_ok=True)
        (tmp_path / "transformer/config.json").write_text(json.dumps({"_class_name": named}))
        assert f"from diffusers import {used} as N" in conversion(tmp_path / "transformer")


def test_a_folder_that_is_no_model_says_what_one_is(tmp_path):
    with pytest.raises(MiaError, match=r"has no model_index\.json, so it is no diffusers folder"):
        read_config(tmp_path / "model_index.json")
    (tmp_path / "mine.safetensors").write_bytes(b"")
    with pytest.raises(MiaError, match=r"or one file of it, as .*mine\.safetensors\.$"):
        read_config(tmp_path / "model_index.json")
    with pytest.raises(MiaError, match=r"config\.json: it is not there\. Fetch it again"):
        read_config(tmp_path / "unet" / "config.json")
