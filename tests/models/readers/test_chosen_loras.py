"""LoRAs with their scales: one for each, each once; what they hold is the key."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from mia_bench.models.readers.chosen_loras import chosen_loras, lora_key, read_chosen
from mia_bench.utils.errors import MiaError


@pytest.fixture
def lora(tmp_path):
    def save(name, value=1.0):
        tensors = {
            "unet.conv.lora_A.weight": torch.full((1, 4), value),
            "unet.conv.lora_B.weight": torch.ones(4, 1),
        }
        save_file(tensors, tmp_path / name)
        return str(tmp_path / name)

    return save


def test_scales_belong_to_their_loras():
    assert chosen_loras(None, 1.0) == {}
    assert chosen_loras("a", 0.5) == {"a": 0.5}
    assert chosen_loras(("a", "b"), 2.0) == {"a": 2.0, "b": 2.0}
    assert chosen_loras(("a", "b"), (1.0, 0.7)) == {"a": 1.0, "b": 0.7}
    for names, scales in ((("a", "b"), (1.0,)), ("a", (1.0, 2.0)), (None, (0.5,))):
        with pytest.raises(MiaError, match="one scale for each"):
            chosen_loras(names, scales)
    with pytest.raises(MiaError, match="names a twice"):
        chosen_loras(("a", "a"), 1.0)


def test_content_scale_and_order_are_the_key(lora):
    a, b = lora("a.safetensors"), lora("b.safetensors", 2.0)
    keys = [
        lora_key(chosen)
        for chosen in ({a: 1.0}, {a: 0.5}, {b: 1.0}, {a: 1.0, b: 1.0}, {b: 1.0, a: 1.0})
    ]
    assert len({str(key) for key in keys}) == len(keys)
    assert lora_key({lora("copy.safetensors"): 1.0}) == keys[0]
    assert lora_key({}) is None


def test_they_are_read_with_their_scales(lora):
    ((adapters, scale),) = read_chosen({lora("a.safetensors"): 0.7}, ("unet",))
    assert scale == 0.7
    assert list(adapters.layers["unet"]) == ["conv"]


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
def test_a_scale_that_adds_nothing_is_refused(scale):
    with pytest.raises(MiaError, match=r"model\.lora_scale=.* would add nothing"):
        chosen_loras(("a", "b"), (1.0, scale))


def test_a_lora_of_zeros_is_refused(lora):
    with pytest.raises(MiaError, match="changes none of its 1 layers"):
        read_chosen({lora("a.safetensors", 0.0): 1.0}, ("unet",))
