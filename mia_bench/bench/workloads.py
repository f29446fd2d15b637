"""What is measured: the bundled tiny model on drawings, and a model of Stable Diffusion's size.

The large one has random weights, which cost as much to evaluate as trained ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.attacks import Attack
from mia_bench.config.compose import conf_dir
from mia_bench.config.instantiate import build
from mia_bench.data.openmoji import OpenMoji
from mia_bench.data.pictures.loader import batch_of
from mia_bench.data.source import Item
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.target import Batch, Target, Text

Items = tuple[Item, ...]
RESOLUTION = 64
SD15_LATENT_SIDE = 32  # 256 px images


class CachedText(nn.Module):
    """A text stack that embeds each caption once, ever."""

    def __init__(self, text: Text) -> None:
        super().__init__()
        self.text = text
        self.rows: dict[str, Tensor] = {}

    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        new = [caption for caption in dict.fromkeys(captions) if caption not in self.rows]
        if new:
            self.rows.update(zip(new, self.text.embed(new)[0], strict=True))
        return torch.stack([self.rows[caption] for caption in captions]), {}


class CachedLatents:
    """Latents kept in memory: what a warm cache amounts to, without the disk."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Tensor] = {}

    def get(self, view: str, sample_id: Sequence[str]) -> dict[str, Tensor]:
        return {sid: self.rows[view, sid] for sid in sample_id if (view, sid) in self.rows}

    def has(self, view: str, sample_id: Sequence[str]) -> set[str]:
        return {sid for sid in sample_id if (view, sid) in self.rows}

    def put(self, view: str, sample_id: Sequence[str], z0: Tensor) -> None:
        self.rows.update({(view, sid): row.cpu() for sid, row in zip(sample_id, z0, strict=True)})


@dataclass(frozen=True)
class Workload:
    """A target and the batch that it is queried with."""

    target: Target
    batch: Batch

    def cached(self) -> Workload:
        """The same workload, changed in place: latents and captions are encoded once."""
        self.target.store = CachedLatents()
        self.target.text = CachedText(self.target.text)
        return self


def tiny_target(resolution: int = RESOLUTION) -> Target:
    """The bundled model."""
    model = StableDiffusion("bundled:tiny", resolution)
    return model.build(model.load_unet(), seed=0)


def tiny(rows: int = 64) -> Workload:
    """The bundled model with `rows` real OpenMoji drawings."""
    return Workload(tiny_target(), batch_of(drawings(rows), RESOLUTION))


def drawings(rows: int) -> Items:
    """The first `rows` of OpenMoji."""
    return OpenMoji().items().items[:rows]


def sd15_unet() -> Any:
    """The network of Stable Diffusion 1.5: diffusers' defaults, except for the text."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def sd15(rows: int = 2) -> Workload:
    """Random networks of Stable Diffusion 1.5's sizes, and `rows` drawings at 256 px."""
    with torch.device("meta"):
        unet = sd15_unet()
    unet = unet.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for p in unet.parameters():
        nn.init.normal_(p, std=0.02, generator=generator)
    unet = unet.to(memory_format=torch.channels_last).eval()
    alphas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    target = Target(
        unet,
        RandomLatentCodec(),
        RandomTextEncoder(),
        (4, SD15_LATENT_SIDE, SD15_LATENT_SIDE),
        torch.cumprod(1 - alphas, 0),
    ).eval()
    small = tiny(rows).batch
    image = nn.functional.interpolate(small.image, scale_factor=4.0)
    return Workload(target, Batch(small.sample_id, image, small.caption))


class RandomLatentCodec(nn.Module):
    """Stable Diffusion 1.5's autoencoder with random weights: 8 x 8 pixels a latent."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers import AutoencoderKL

        self.vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        ).eval()

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        z: Tensor = self.vae.encode(image).latent_dist.mode()
        return z * 0.18215

    @torch.no_grad()
    def decode(self, z0: Tensor) -> Tensor:
        image: Tensor = self.vae.decode(z0 / 0.18215).sample
        return image


class RandomTextEncoder(nn.Module):
    """CLIP ViT-L/14's text tower with random weights: 77 tokens of width 768."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModel

        self.encoder = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                projection_dim=768,
            )
        ).eval()

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        rows = [[ord(c) for c in caption[:77].ljust(77)] for caption in captions]
        hidden: Tensor = self.encoder(torch.tensor(rows).clamp(max=49407))[0]
        return hidden, {}


def attack(name: str) -> Attack:
    """An attack of conf/attack with its defaults."""
    from omegaconf import OmegaConf

    node: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / "attack" / f"{name}.yaml"))
    built: Attack = build(node[name], f"attack.{name}")
    return built


def all_attacks() -> list[Attack]:
    """The attacks of attack=all."""
    from mia_bench.planning.experiment import compose

    return list(compose("attack=all").attacks.values())
