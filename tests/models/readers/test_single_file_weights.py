"""A network from a single file has every tensor of its part; a file without one is refused."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from original_layout import single_file
from safetensors.torch import load_file, save_file

from mia_bench.models.readers.single_file_weights import load_part
from mia_bench.utils.errors import MiaError


def test_a_part_is_the_folders_own_and_misses_nothing(narrow, tmp_path) -> None:
    folder = narrow("sd1")
    file = single_file(folder, "sd1", tmp_path / "whole.safetensors")
    network = load_part(file, UNet2DConditionModel, "unet", folder, torch.float32)
    (weights,) = (folder / "unet").glob("*.safetensors")
    state, own = network.state_dict(), load_file(weights)
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], own[name]) for name in own)
    lost = "model.diffusion_model.middle_block.0.in_layers.2.bias"
    rest = {name: tensor for name, tensor in load_file(file).items() if name != lost}
    save_file(rest, tmp_path / "part.safetensors")
    with pytest.raises(MiaError, match=r"unet of .*: tensors of the network are missing in it"):
        load_part(
            tmp_path / "part.safetensors", UNet2DConditionModel, "unet", folder, torch.float32
        )
