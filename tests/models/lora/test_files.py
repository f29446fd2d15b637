"""Files and folders of adapters: whose they are, what is not one, what is missing beside them."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from lora_matrices import injected
from peft import get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from mia_bench.models.lora.files import NAME, PEFT_SETTINGS, find_lora, read_lora
from mia_bench.models.lora.training import load_lora
from mia_bench.utils.errors import MiaError


def test_folders_of_peft_by_part_are_one_lora(trained, tiny_unet, tmp_path):
    network = trained(get_peft_model, lora_alpha=3)
    network.save_pretrained(tmp_path / "unet")
    network.save_pretrained(tmp_path / "text_encoder")
    adapters = read_lora(tmp_path)
    assert adapters.layers.keys() == {"unet", "text_encoder"}
    assert len(adapters.layers["unet"]) == len(adapters.layers["text_encoder"]) > 0
    with pytest.raises(MiaError, match="holds adapters of a text_encoder"):
        load_lora(copy.deepcopy(tiny_unet), tmp_path)


def test_a_file_of_peft_needs_its_settings(trained, tiny_unet, tmp_path):
    trained(get_peft_model, lora_alpha=3).save_pretrained(tmp_path)
    settings = tmp_path / PEFT_SETTINGS
    written = json.loads(settings.read_text())
    for change, message in (
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa, which changes the base"),
        ({"fan_in_fan_out": True}, "transposed"),
        ({"peft_type": "LOHA"}, "kind LOHA"),
        ({"use_dora": True}, "lacks the magnitude matrix"),
        ({"alpha_pattern": {"(": 1}}, "cannot read the alphas"),
        ({"lora_alpha": 0}, "alpha of .* is 0"),
    ):
        settings.write_text(json.dumps({**written, **change}))
        with pytest.raises(MiaError, match=message):
            read_lora(tmp_path)
    settings.write_text("[1]")
    with pytest.raises(MiaError, match="no JSON object"):
        read_lora(tmp_path)
    settings.unlink()
    with pytest.raises(MiaError, match=rf"{PEFT_SETTINGS} is not beside it"):
        load_lora(tiny_unet, tmp_path)


def test_what_is_no_lora_is_refused(tiny_unet, tmp_path):
    with pytest.raises(MiaError, match="no safetensors file"):
        find_lora(tmp_path / "nowhere")
    with pytest.raises(MiaError, match="0 safetensors files"):
        find_lora(tmp_path)
    (tmp_path / NAME).write_bytes(b"broken")
    with pytest.raises(MiaError, match="cannot read"):
        load_lora(copy.deepcopy(tiny_unet), tmp_path)
    save_file({"unet.conv_in.weight": torch.zeros(1)}, tmp_path / NAME)
    with pytest.raises(MiaError, match="does not hold a LoRA"):
        load_lora(copy.deepcopy(tiny_unet), tmp_path)


def test_our_own_file_is_peft_through_diffusers_to_the_bit(trained, tiny_unet, tmp_path):
    """Adapters that earlier versions fused through peft give the very weights they gave."""
    network = trained(injected, lora_alpha=2)
    state = get_peft_model_state_dict(network, adapter_name="style")
    save_file({f"unet.{k}": v.contiguous() for k, v in state.items()}, tmp_path / NAME)
    reference, ours = copy.deepcopy(tiny_unet), copy.deepcopy(tiny_unet)
    reference.load_lora_adapter(load_file(tmp_path / NAME), prefix="unet")
    reference.fuse_lora()
    reference.unload_lora()
    load_lora(ours, tmp_path)
    linear = [n for n, p in ours.named_parameters() if p.dim() == 2]
    assert all(torch.equal(ours.get_parameter(n), reference.get_parameter(n)) for n in linear)
