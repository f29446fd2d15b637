"""Other trainers' words for a transformer's layers, against matrices put together by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dit_pipelines import SIDE
from safetensors.torch import save_file

from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.utils.errors import MiaError

Folder = Callable[[str], Path]


def model_of(path: Path, family: str = "sd3", **options: Any) -> DiffusionTransformer:
    guidance = 1.0 if family == "flux_dev" else None
    return DiffusionTransformer(
        str(path), SIDE.get(family, 16), **{"chunk": 8, "guidance": guidance, **options}
    )


def test_kohyas_words_for_flux_are_converted_and_checked(saved_dit: Folder, tmp_path: Path) -> None:
    """A fused projection of kohya's file is cut into diffusers' three."""
    model = model_of(saved_dit("flux_dev"), "flux_dev")
    width, stem = 32, "lora_unet_double_blocks_0_img_attn_qkv"
    down, up = torch.randn(2, width), torch.randn(3 * width, 2)
    file = tmp_path / "kohya.safetensors"
    state = {
        f"{stem}.lora_down.weight": down,
        f"{stem}.lora_up.weight": up,
        f"{stem}.alpha": torch.tensor(1.0),
    }
    save_file(state, file)
    fused = replace(model, lora=str(file)).load_unet()
    base = model.load_unet()
    block = base.transformer_blocks[0].attn  # type: ignore[union-attr]
    changed = fused.transformer_blocks[0].attn  # type: ignore[union-attr]
    for i, name in enumerate(("to_q", "to_k", "to_v")):
        expected = getattr(block, name).weight + 0.5 * up[i * width : (i + 1) * width] @ down
        assert torch.allclose(getattr(changed, name).weight, expected, atol=1e-5)
    save_file(state | {f"{stem}.dora_scale": torch.ones(3 * width)}, file)
    with pytest.raises(MiaError, match="DoRA in another trainer's words"):
        replace(model, lora=str(file)).load_unet()


def test_what_a_converter_would_leave_out_is_counted(saved_dit: Folder, tmp_path: Path) -> None:
    """diffusers drops adapters of FLUX's T5 with a warning."""
    model = model_of(saved_dit("flux_dev"), "flux_dev")
    state = {}
    for stem, outputs in (
        ("lora_unet_double_blocks_0_img_attn_qkv", 96),
        ("lora_te2_encoder_block_0_layer_0_SelfAttention_q", 32),
    ):
        state[f"{stem}.lora_down.weight"] = torch.ones(2, 32)
        state[f"{stem}.lora_up.weight"] = torch.ones(outputs, 2)
        state[f"{stem}.alpha"] = torch.tensor(1.0)
    save_file(state, tmp_path / "kohya.safetensors")
    with pytest.raises(MiaError, match=r"adapts 128 outputs of layers.* 96 are left"):
        replace(model, lora=str(tmp_path / "kohya.safetensors")).load_unet()
