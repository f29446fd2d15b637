"""Weights on disk: complete or absent, and in the form they are read in."""

from __future__ import annotations

import copy

import torch
from safetensors.torch import load_file

from mia_bench.models.lora.training import add_lora, has_lora
from mia_bench.training.checkpoints import save_weights, write_history


def test_weights_of_a_killed_run_give_way_to_those_of_the_resumed_one(tiny_unet, tmp_path):
    """Nothing vouches for what an unfinished run left."""
    folder = tmp_path / "steps" / "3"
    save_weights(tiny_unet, folder)
    (file,) = folder.glob("*.safetensors")
    expected = file.read_bytes()
    file.write_bytes(expected[:100])
    save_weights(tiny_unet, folder)
    assert file.read_bytes() == expected
    assert [path.name for path in folder.parent.iterdir()] == ["3"]


def test_adapters_are_saved_alone(tiny_unet, tmp_path):
    unet = copy.deepcopy(tiny_unet)
    add_lora(unet, 2)
    save_weights(unet, tmp_path / "3", adapters=True)
    assert has_lora(tmp_path / "3")
    (file,) = (tmp_path / "3").glob("*")
    small = sum(v.numel() for v in load_file(file).values())
    assert small < sum(p.numel() for p in tiny_unet.parameters()) / 2


def test_history_is_replaced_whole(tmp_path):
    path = tmp_path / "train.csv"
    write_history(path, [])
    assert not path.exists()
    write_history(path, [{"step": 1.0, "loss": torch.tensor(2.0).item()}])
    write_history(path, [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.5}])
    assert path.read_text().splitlines() == ["step,loss", "1.0,2.0", "2.0,1.5"]
    assert [p.name for p in tmp_path.iterdir()] == ["train.csv"]
