"""Low-rank adapters on a U-Net (Hu et al. 2022, arXiv 2106.09685): train, save, load and fuse.

Files are what diffusers writes and reads, `pytorch_lora_weights.safetensors` with keys under
"unet."; those of kohya's trainer are read too. A loaded adapter is added to the weights it adapts,
so a scored U-Net is as fast as a plain one and has its parameter names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.utils.errors import MiaError

LORA_FILE = "pytorch_lora_weights.safetensors"
LORA_METADATA_KEY = "lora_adapter_metadata"  # where diffusers keeps rank and alpha
ATTENTION_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class Adapters:
    """A LoRA file in diffusers' names: matrices, and either alphas (kohya) or peft's settings."""

    path: Path
    state: dict[str, Tensor]
    alphas: dict[str, float] | None
    settings: dict[str, Any] | None

    def has(self, prefix: str) -> bool:
        return any(key.startswith(f"{prefix}.") for key in self.state)


def add_lora(
    unet: nn.Module, rank: int, targets: tuple[str, ...] = ATTENTION_LAYERS, seed: int = 0
) -> None:
    """Freeze `unet` and add trainable adapters in place, with alpha = rank, so a scale of one.

    B is zero and A is drawn from `seed`: the function of the network is unchanged at first.

    Raises:
        MiaError: a rank below 1, or a target that no layer is named after.
    """
    from peft import LoraConfig

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
        unet.add_adapter(config)  # type: ignore[operator]


def save_lora(unet: nn.Module, folder: Path) -> None:
    """The adapters of `unet` as `pipe.load_lora_weights(folder)` reads them."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config: Any = unet.peft_config["default"]  # type: ignore[index]
    settings = {
        "unet.r": config.r,
        "unet.lora_alpha": config.lora_alpha,
        "unet.target_modules": sorted(config.target_modules),
    }
    state = get_peft_model_state_dict(unet)
    tensors = {f"unet.{key}": value.detach().cpu().contiguous() for key, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt", LORA_METADATA_KEY: json.dumps(settings)}
    save_file(tensors, folder / LORA_FILE, metadata)


def has_lora(folder: Path) -> bool:
    return (folder / LORA_FILE).is_file()


def load_lora(unet: nn.Module, folder: Path) -> None:
    """Add the adapters of a file, or of a folder that holds one, to the weights of `unet`.

    Raises:
        MiaError: no or no readable LoRA there, or one for another network.
    """
    fuse_unet(unet, read_lora(folder))


def find_lora(path: Path) -> Path:
    """The safetensors file meant by `path`: itself, diffusers' name in it, or its only one."""
    if path.is_file() and path.suffix == ".safetensors":
        return path
    if has_lora(path):
        return path / LORA_FILE
    files = sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    contents = f"{len(files)} safetensors files" if path.is_dir() else "no safetensors file"
    raise MiaError(f"{path} is {contents}: name a LoRA file, or a folder with {LORA_FILE} in it.")


def read_lora(path: Path) -> Adapters:
    """Read a LoRA into memory. Raises MiaError when the file is not one."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from safetensors import SafetensorError, safe_open

    file = find_lora(path)
    try:
        with safe_open(file, framework="pt") as handle:
            state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            settings = json.loads((handle.metadata() or {}).get(LORA_METADATA_KEY, "null"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise MiaError(f"cannot read the LoRA {file}: {error}") from error
    if not any(".lora" in key for key in state) or any("dora_scale" in key for key in state):
        raise MiaError(f"{file} does not hold a LoRA that diffusers reads.")
    with _refusals(file):
        state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(state)
    return Adapters(file, state, alphas, settings)


def fuse_unet(unet: nn.Module, adapters: Adapters) -> None:
    """Add the U-Net's part of `adapters` to its weights; its parameter names stay as they are."""
    if not adapters.has("unet"):
        raise MiaError(f"{adapters.path} holds no adapters of a U-Net.")
    trainable = {name for name, p in unet.named_parameters() if p.requires_grad}
    with _refusals(adapters.path):
        unet.load_lora_adapter(  # type: ignore[operator]
            dict(adapters.state),
            prefix="unet",
            adapter_name="default",
            network_alphas=adapters.alphas,
            metadata=adapters.settings,
        )
    loaded = sum(".lora_A." in name for name, _ in unet.named_parameters())
    stored = sum(k.startswith("unet.") and ".lora_A." in k for k in _peft_names(adapters.state))
    if loaded != stored:
        raise MiaError(f"{adapters.path} is a LoRA of another network: {loaded} of {stored} fit.")
    with _refusals(adapters.path):
        unet.fuse_lora(safe_fusing=True)  # type: ignore[operator]
    unet.unload_lora()  # type: ignore[operator]
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(name in trainable)


@torch.no_grad()
def fuse_text(encoder: nn.Module, adapters: Adapters, part: str) -> None:
    """W + alpha / r B A for what `adapters` hold of "text_encoder" or "text_encoder_2", if any.

    By hand, because transformers and peft agree on text encoders in some pairs of versions only.
    """
    state = {k: v for k, v in adapters.state.items() if k.startswith(f"{part}.")}
    for key, alpha in (adapters.alphas or {}).items():
        first = key.removesuffix(".alpha")
        if first in state:
            second = first.replace(".down.", ".up.")
            state[second] = state[second] * (alpha / len(state[first]))
    settings = adapters.settings or {}
    if settings.get(f"{part}.alpha_pattern") or settings.get(f"{part}.use_dora"):
        raise MiaError(f"{adapters.path}: only one alpha for a whole text encoder is read.")
    scale = settings.get(f"{part}.lora_alpha", 1.0) / settings.get(f"{part}.r", 1.0)
    matrices = {_text_name(key.removeprefix(f"{part}.")): value for key, value in state.items()}
    layers = dict(encoder.named_modules())
    for key, matrix in matrices.items():
        name, _, which = key.removesuffix(".weight").rpartition(".")
        if which == "lora_A":
            layer = layers.get(name) or layers.get(name.removeprefix("text_model."))
            up = matrices[f"{name}.lora_B.weight"]
            if not isinstance(layer, nn.Linear) or layer.weight.shape != (len(up), matrix.shape[1]):
                raise MiaError(f"{adapters.path} is a LoRA of another {part}: {name} does not fit.")
            layer.weight += (scale * up.float() @ matrix.float()).to(layer.weight)


def _text_name(key: str) -> str:
    """peft's name of a matrix of a text encoder, from any of the three that diffusers has used."""
    key = re.sub(r"to_(q|k|v|out)_lora\.", r"\1_proj.lora_linear_layer.", key)
    return key.replace("lora_linear_layer.down", "lora_A").replace("lora_linear_layer.up", "lora_B")


def _peft_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    from diffusers.utils import convert_unet_state_dict_to_peft

    return (
        state if any(".lora_A." in key for key in state) else convert_unet_state_dict_to_peft(state)
    )


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """diffusers' and peft's refusals of a file as one message."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # it logs what it then raises
    try:
        yield
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MiaError(f"{path} cannot be loaded as a LoRA of this model: {reason}") from error
    finally:
        logging.set_verbosity(before)
