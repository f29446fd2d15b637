"""Low-rank adapters on a network (Hu et al. 2022, arXiv 2106.09685): train, save and load.

Files are what diffusers writes and reads, `pytorch_lora_weights.safetensors` with keys under
"unet." or "transformer."; files.py reads those of other trainers too. A loaded adapter is added to
the weights it adapts, so a scored network is as fast as a plain one and has its parameter names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mia_bench.models.lora.files import METADATA, NAME, read_loras
from mia_bench.models.lora.fusion import fuse
from mia_bench.utils.errors import MiaError

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def add_lora(
    unet: nn.Module, rank: int, targets: tuple[str, ...] = ATTENTION, seed: int = 0
) -> None:
    """Freeze `unet` and add trainable adapters in place, with alpha = rank, so a scale of one.

    B is zero and A is drawn from `seed`: the function of the network is unchanged at first.

    Raises:
        MiaError: a rank below 1, or a target that no layer is named after.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if rank < 1:
        raise MiaError(f"a LoRA of rank {rank}: the rank must be 1 or more.")
    names = [name for name, layer in unet.named_modules() if isinstance(layer, nn.Linear)]
    unknown = [t for t in targets if not any(n == t or n.endswith(f".{t}") for n in names)]
    if unknown or not targets:
        ends = sorted({re.sub(r".*\.(?=[a-z])", "", name) for name in names})
        raise MiaError(
            f"LoRA targets {', '.join(unknown) or 'are empty'}: no linear layer of the U-Net has "
            f"such a name. Its layers: {', '.join(ends)}."
        )
    unet.requires_grad_(False)
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=list(targets), init_lora_weights="gaussian"
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if hasattr(unet, "add_adapter"):
            unet.add_adapter(config)  # type: ignore[operator]
        else:  # PixArt's transformer, which diffusers gives no such method
            inject_adapter_in_model(config, unet)
            unet.peft_config = {"default": config}  # type: ignore[assignment]


def save_lora(unet: nn.Module, folder: Path) -> None:
    """The adapters of `unet` as `pipe.load_lora_weights(folder)` reads them."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config: Any = unet.peft_config["default"]  # type: ignore[index]
    part = network_part(unet)
    settings = {
        f"{part}.r": config.r,
        f"{part}.lora_alpha": config.lora_alpha,
        f"{part}.target_modules": sorted(config.target_modules),
    }
    state = get_peft_model_state_dict(unet)
    tensors = {f"{part}.{key}": value.detach().cpu().contiguous() for key, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / NAME, {"format": "pt", METADATA: json.dumps(settings)})


def has_lora(folder: Path) -> bool:
    return (folder / NAME).is_file()


def load_lora(unet: nn.Module, folder: Path) -> None:
    """Add the adapters of a file, or of a folder that holds one, to the weights of `unet`.

    Raises:
        MiaError: no or no readable LoRA there, or one for another network.
    """
    part = network_part(unet)
    fuse(unet, part, read_loras([folder], [1.0], [part]))


def network_part(network: nn.Module) -> str:
    """What diffusers' pipelines call a network: "transformer", or "unet"."""
    return "transformer" if type(network).__name__.endswith("Transformer2DModel") else "unet"
