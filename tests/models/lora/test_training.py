"""Adapters on a small random U-Net: what is trained is what is saved, loaded and fused."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from mia_bench.models.lora.files import NAME
from mia_bench.models.lora.training import add_lora, has_lora, load_lora, save_lora
from mia_bench.utils.errors import MiaError


@pytest.fixture
def unet(tiny_unet):
    return copy.deepcopy(tiny_unet)


@pytest.fixture
def ask():
    generator = torch.Generator().manual_seed(3)
    z, hidden = (torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 6, 16)))

    def answer(unet):
        with torch.no_grad():
            return unet(z, torch.tensor([10, 500]), encoder_hidden_states=hidden).sample

    return answer


def trained(unet, seed=1):
    """Adapters as if trained: B no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return unet


def test_new_adapters_change_nothing_and_alone_are_trained(unet, tiny_unet, ask):
    add_lora(unet, 4)
    assert torch.equal(ask(unet), ask(tiny_unet))
    learns = {name for name, p in unet.named_parameters() if p.requires_grad}
    assert learns
    assert all("lora_" in name for name in learns)


def test_adapters_are_a_function_of_the_seed(tiny_unet):
    one, two, three = (copy.deepcopy(tiny_unet) for _ in range(3))
    state = torch.get_rng_state()
    for unet, seed in ((one, 0), (two, 0), (three, 1)):
        add_lora(unet, 4, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    a, b, c = (dict(unet.named_parameters()) for unet in (one, two, three))
    names = [name for name in a if "lora_A" in name]
    assert all(torch.equal(a[name], b[name]) for name in names)
    assert not any(torch.equal(a[name], c[name]) for name in names)


def test_fused_equals_unfused_with_plain_names(unet, tiny_unet, ask, tmp_path):
    add_lora(unet, 4)
    expected = ask(trained(unet))
    save_lora(unet, tmp_path)
    assert has_lora(tmp_path)
    fused = copy.deepcopy(tiny_unet)
    load_lora(fused, tmp_path)
    assert fused.state_dict().keys() == tiny_unet.state_dict().keys()
    # W x + B A x against (W + B A) x: the order of float32 sums
    assert torch.allclose(ask(fused), expected, atol=1e-5)
    assert not torch.allclose(ask(fused), ask(tiny_unet), atol=1e-2)
    assert all(p.requires_grad for p in fused.parameters())
    add_lora(fused, 2)  # a fused base takes new adapters


def test_diffusers_reads_what_is_saved(unet, tiny_unet, ask, tmp_path):
    add_lora(unet, 3, ("to_q", "to_v"))
    expected = ask(trained(unet))
    save_lora(unet, tmp_path)
    other = copy.deepcopy(tiny_unet)
    other.load_lora_adapter(str(tmp_path / NAME), prefix="unet")
    assert torch.allclose(ask(other), expected, atol=1e-6)


def test_alpha_of_other_trainers_is_kept(unet, tiny_unet, ask, tmp_path):
    from peft import LoraConfig, get_peft_model_state_dict

    unet.add_adapter(LoraConfig(r=4, lora_alpha=2, target_modules=["to_q", "to_out.0"]))
    expected = ask(trained(unet))
    tensors = {f"unet.{k}": v for k, v in get_peft_model_state_dict(unet).items()}
    kohya = {}
    for key, value in tensors.items():
        stem, _, which = key.removeprefix("unet.").removesuffix(".weight").rpartition(".")
        stem = "lora_unet_" + stem.replace(".", "_")
        down = {"lora_A": "lora_down", "lora_B": "lora_up"}[which]
        kohya[f"{stem}.{down}.weight"] = value.contiguous()
        kohya[f"{stem}.alpha"] = torch.tensor(2.0)
    save_file(kohya, tmp_path / "kohya.safetensors")
    fused = copy.deepcopy(tiny_unet)
    load_lora(fused, tmp_path)
    assert torch.allclose(ask(fused), expected, atol=1e-5)


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(unet, rank):
    with pytest.raises(MiaError, match="rank must be 1 or more"):
        add_lora(unet, rank)


@pytest.mark.parametrize("targets", [("to_q", "nowhere"), ("o_q",), ()])
def test_unknown_targets_are_refused_with_those_there_are(unet, tiny_unet, targets):
    with pytest.raises(MiaError, match=r"targets.*to_q"):
        add_lora(unet, 2, targets)
    assert unet.state_dict().keys() == tiny_unet.state_dict().keys()


def test_a_lora_of_another_network_is_refused(unet, tiny_unet, tmp_path):
    add_lora(unet, 2)
    save_lora(unet, tmp_path / "whole")
    state = load_file(tmp_path / "whole" / NAME)
    strange = {k.replace("attn2", "attn3"): v for k, v in state.items()}
    save_file(strange, tmp_path / "strange.safetensors")
    wide = {k: v.repeat(1, 2) if "lora_A" in k else v for k, v in state.items()}
    save_file(wide, tmp_path / "wide.safetensors")
    for name in ("strange", "wide"):
        with pytest.raises(MiaError, match=rf"{name}\.safetensors"):
            load_lora(copy.deepcopy(tiny_unet), tmp_path / f"{name}.safetensors")
