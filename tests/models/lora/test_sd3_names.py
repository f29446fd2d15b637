"""kohya's layers of SD3, against diffusers' own conversion of whole checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
from safetensors.torch import save_file
from torch import Tensor

from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.models.lora.sd3_names import convert_sd3
from mia_bench.utils.errors import MiaError

WIDTH, LAYERS, RANK, ALPHA = 32, 2, 2, 1.0
STREAM = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
OUTSIDE = {
    "context_embedder": (32, 32),
    "final_layer.linear": (16, WIDTH),
    **{f"t_embedder.mlp.{i}": (WIDTH, WIDTH if i else 256) for i in (0, 2)},
    **{f"y_embedder.mlp.{i}": (WIDTH, WIDTH) for i in (0, 2)},
    "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
}


def original_layers() -> dict[str, tuple[int, int]]:
    """Every layer of the original SD3 of that width -> (outputs, inputs)."""
    layers = dict(OUTSIDE)
    for i in range(LAYERS):
        for stream in ("x_block", "context_block"):
            last = stream == "context_block" and i == LAYERS - 1  # no output of its own
            kept = {"attn.qkv": STREAM["attn.qkv"]} if last else STREAM
            for name, (outputs, inputs) in kept.items():
                layers[f"joint_blocks.{i}.{stream}.{name}"] = (outputs * WIDTH, inputs * WIDTH)
            modulation = f"joint_blocks.{i}.{stream}.adaLN_modulation.1"
            layers[modulation] = ((2 if last else 6) * WIDTH, WIDTH)
    return layers


@pytest.fixture(scope="module")
def matrices() -> dict[str, tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    return {
        name: (
            torch.randn(RANK, inputs, generator=draw),
            torch.randn(outputs, RANK, generator=draw),
        )
        for name, (outputs, inputs) in original_layers().items()
    }


def kohya(matrices: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    state = {}
    for name, (down, up) in matrices.items():
        stem = f"lora_unet_{name.replace('.', '_')}"
        state |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
        state[f"{stem}.alpha"] = torch.tensor(ALPHA)
    return state


def reference(matrices: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """{diffusers' layer: what is added to its weight}: the sums as if they were a checkpoint."""
    checkpoint = {
        f"{name}.weight": ALPHA / RANK * up @ down for name, (down, up) in matrices.items()
    }
    checkpoint |= {f"{name}.bias": torch.zeros(len(up)) for name, (_, up) in matrices.items()}
    for name in ("pos_embed", "x_embedder.proj.weight", "x_embedder.proj.bias"):
        checkpoint[name] = torch.zeros(1)
    converted = convert_sd3_transformer_checkpoint_to_diffusers(checkpoint)
    weights = {k.removesuffix(".weight"): v for k, v in converted.items() if k.endswith(".weight")}
    return {name: value for name, value in weights.items() if value.any()}


def test_every_layer_gets_what_diffusers_would_give_it(
    matrices: dict[str, tuple[Tensor, Tensor]], saved_dit: Callable[[str], Path], tmp_path: Path
) -> None:
    save_file(kohya(matrices), tmp_path / "kohya.safetensors")
    model = DiffusionTransformer(str(saved_dit("sd3")), 16)
    before = dict(model.load_unet().named_parameters())
    tuned = replace(model, lora=str(tmp_path / "kohya.safetensors")).load_unet()
    changes = {
        name.removesuffix(".weight"): value - before[name]
        for name, value in tuned.named_parameters()
        if not torch.equal(value, before[name])
    }
    expected = reference(matrices)
    assert changes.keys() == expected.keys()
    assert len(expected) == 7 + 3 * 7 + 4  # outside; a whole stream of a block; the last text
    for name, change in expected.items():
        torch.testing.assert_close(changes[name], change, atol=1e-5, rtol=1e-4)


def test_an_unknown_layer_is_named(saved_dit: Callable[[str], Path], tmp_path: Path) -> None:
    layer = "lora_unet_joint_blocks_0_x_block_attn3_qkv"
    state = {f"{layer}.lora_down.weight": torch.ones(1, WIDTH)}
    state[f"{layer}.lora_up.weight"] = torch.ones(WIDTH, 1)
    with pytest.raises(ValueError, match="attn3_qkv is no layer of Stable Diffusion 3"):
        convert_sd3(state)
    save_file(state, tmp_path / "strange.safetensors")
    model = DiffusionTransformer(
        str(saved_dit("sd3")), 16, lora=str(tmp_path / "strange.safetensors")
    )
    with pytest.raises(MiaError, match="LoRA of another network than a StableDiffusion3Pipeline"):
        model.load_unet()
