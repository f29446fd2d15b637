"""Networks of Stable Diffusion 1.5, SDXL and Stable Diffusion 3 with random weights, as targets.

Captions are embedded as keyed random numbers of the family's shapes: text encoders run once a
caption, and are no part of what is measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.bench.workloads import CachedLatents, Workload
from mia_bench.models.dit.adapters import UnitCodec
from mia_bench.models.dit.families.sd3 import velocity
from mia_bench.models.dit.family import LatentUnits
from mia_bench.models.encoders import Anchored, KlCodec
from mia_bench.target import Batch, FlowSchedule, Target
from mia_bench.target.diffusion import keyed_noise
from mia_bench.target.engine.noise_predictor import NetworkCall, call_unet

SIZES = ("real", "small")
SHRINK = 8  # pixels per latent cell, along a side
SEED = 0
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"


@dataclass(frozen=True)
class NetworkSpec:
    """A family at one size.

    Args:
        network: diffusers' class of the network.
        config: its arguments.
        pixels: per side of an image.
        tokens, width: of an embedded caption.
        pooled: name and width of the embedding of a whole caption, or None.
        size_ids: whether the network is told the image's size (SDXL).
        scale, shift: of latents, (z - shift) * scale.
        codec_widths: channels of the autoencoder's levels.
        recipe: fields of the fine-tune that differ from training every weight.
        batch_rows: images of a training step.
    """

    network: str
    config: Mapping[str, Any]
    pixels: int
    tokens: int
    width: int
    pooled: tuple[str, int] | None = None
    size_ids: bool = False
    scale: float = 0.18215
    shift: float | None = None
    codec_widths: tuple[int, ...] = (128, 256, 512, 512)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    batch_rows: int = 4

    @property
    def channels(self) -> int:
        """Of latents."""
        return int(self.config.get("in_channels", 4))

    @property
    def flow(self) -> bool:
        """Whether the network predicts velocities of flow matching."""
        return self.shift is not None

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.channels, self.pixels // SHRINK, self.pixels // SHRINK


SDXL_BLOCKS = {
    "down_block_types": ("DownBlock2D", CROSS_DOWN, CROSS_DOWN),
    "up_block_types": (CROSS_UP, CROSS_UP, "UpBlock2D"),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
}
NARROW_UNET = {"norm_num_groups": 4, "layers_per_block": 1, "sample_size": 8}
NARROW_CODEC = (4, 4, 8, 8)
SDXL_ADAPTERS = {"lora_rank": 64, "gradient_checkpointing": True}  # as conf/model/sdxl.yaml
SD3_ADAPTERS = {"lora_rank": 4, "gradient_checkpointing": True, "loss": "clean"}

SPECS: dict[str, dict[str, NetworkSpec]] = {
    "sd15": {
        "real": NetworkSpec(
            "UNet2DConditionModel",
            {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
            *(512, 77, 768),
        ),
        "small": NetworkSpec(
            "UNet2DConditionModel",
            {
                **NARROW_UNET,
                "block_out_channels": (8, 8, 16, 16),
                "cross_attention_dim": 16,
                "attention_head_dim": 2,
            },
            *(128, 8, 16),
            codec_widths=NARROW_CODEC,
        ),
    },
    "sdxl": {
        "real": NetworkSpec(
            "UNet2DConditionModel",
            {
                **SDXL_BLOCKS,
                "sample_size": 128,
                "block_out_channels": (320, 640, 1280),
                "cross_attention_dim": 2048,
                "attention_head_dim": (5, 10, 20),
                "transformer_layers_per_block": (1, 2, 10),
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            },
            *(1024, 77, 2048, ("text_embeds", 1280), True, 0.13025),
            recipe=SDXL_ADAPTERS,
            batch_rows=2,
        ),
        "small": NetworkSpec(
            "UNet2DConditionModel",
            {
                **SDXL_BLOCKS,
                **NARROW_UNET,
                "block_out_channels": (8, 8, 16),
                "cross_attention_dim": 16,
                "attention_head_dim": (1, 1, 2),
                "transformer_layers_per_block": (1, 1, 2),
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 24 + 6 * 8,
            },
            *(128, 8, 16, ("text_embeds", 24), True, 0.13025),
            codec_widths=NARROW_CODEC,
            recipe=SDXL_ADAPTERS | {"lora_rank": 2},
            batch_rows=2,
        ),
    },
    "sd3": {
        "real": NetworkSpec(
            "SD3Transformer2DModel",
            {
                "sample_size": 128,
                "in_channels": 16,
                "out_channels": 16,
                "num_layers": 24,
                "attention_head_dim": 64,
                "num_attention_heads": 24,
                "joint_attention_dim": 4096,
                "caption_projection_dim": 1536,
                "pooled_projection_dim": 2048,
                "pos_embed_max_size": 192,
            },
            *(1024, 77 + 256, 4096, ("pooled", 2048), False, 1.5305, 0.0609),
            recipe=SD3_ADAPTERS,
            batch_rows=2,
        ),
        "small": NetworkSpec(
            "SD3Transformer2DModel",
            {
                "sample_size": 16,
                "in_channels": 4,
                "out_channels": 4,
                "num_layers": 2,
                "attention_head_dim": 8,
                "num_attention_heads": 4,
                "joint_attention_dim": 32,
                "caption_projection_dim": 32,
                "pooled_projection_dim": 32,
                "pos_embed_max_size": 16,
            },
            *(128, 8, 32, ("pooled", 32), False, 1.5305, 0.0609),
            codec_widths=NARROW_CODEC,
            recipe=SD3_ADAPTERS,
            batch_rows=2,
        ),
    },
}
MODELS = tuple(SPECS)


class DrawnText(Anchored):
    """A text stack that draws each caption's embedding from a generator keyed by the caption."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """B captions -> (B, tokens, width), and the family's pooled embedding and size ids."""
        spec, extra = self.spec, {}
        hidden = self._rows(captions, "hidden", (spec.tokens, spec.width))
        if spec.pooled is not None:
            name, width = spec.pooled
            extra[name] = self._rows(captions, name, (width,))
        if spec.size_ids:
            sizes = [spec.pixels, spec.pixels, 0, 0, spec.pixels, spec.pixels]
            rows = torch.tensor([sizes] * len(captions), dtype=torch.float32)
            extra["time_ids"] = rows.to(self.anchor.device)
        return hidden, extra

    def _rows(self, captions: Sequence[str], name: str, shape: tuple[int, ...]) -> Tensor:
        rows = [keyed_noise(SEED, f"{name}:{caption}", None, 0, shape) for caption in captions]
        return torch.stack(rows).to(self.anchor.device)


def network(spec: NetworkSpec, device: torch.device) -> Any:
    """The network alone, its weights drawn on `device`."""
    import diffusers

    with torch.random.fork_rng([device] if device.type == "cuda" else []), device:
        torch.manual_seed(SEED)
        drawn = getattr(diffusers, spec.network)(**spec.config)
    # as models/stable_diffusion.py lays a U-Net out
    return drawn if spec.flow else drawn.to(memory_format=torch.channels_last)


def autoencoder(spec: NetworkSpec) -> Any:
    """Both halves of the image codec."""
    from diffusers import AutoencoderKL

    levels, narrow = len(spec.codec_widths), spec.codec_widths == NARROW_CODEC
    return AutoencoderKL(
        block_out_channels=spec.codec_widths,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1 if narrow else 2,
        norm_num_groups=4 if narrow else 32,
        latent_channels=spec.channels,
    ).eval()


def target(spec: NetworkSpec, device: torch.device) -> Target:
    """The family as an attack sees it, on `device`, in float32."""
    load: Callable[[], Any] = lambda: autoencoder(spec)  # noqa: E731
    codec = (
        KlCodec(load, spec.scale)
        if spec.shift is None
        else UnitCodec(load, LatentUnits(spec.channels, SHRINK, spec.shift, spec.scale))
    )
    call: NetworkCall = velocity if spec.flow else call_unet
    built = Target(
        network(spec, device),
        codec,
        DrawnText(spec),
        spec.latent_shape,
        FlowSchedule() if spec.flow else scaled_linear_alphas(),
        "velocity" if spec.flow else "epsilon",
        SEED,
        None,
        call=call,
    )
    return built.to(device).eval().requires_grad_(True)


def scaled_linear_alphas() -> Tensor:
    """(1000,) alphas_cumprod of Stable Diffusion."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    return torch.cumprod(1 - betas, 0)


def pictures(spec: NetworkSpec, rows: int) -> Batch:
    """`rows` made-up images with a caption each."""
    generator = torch.Generator().manual_seed(SEED)
    image = torch.rand(rows, 3, spec.pixels, spec.pixels, generator=generator) * 2 - 1
    ids = tuple(f"made:{i:012x}" for i in range(rows))
    captions = tuple(f"made up picture {i} of {'abcdefgh'[i % 8] * 9} things" for i in range(rows))
    return Batch(ids, image, captions)


def workload(spec: NetworkSpec, rows: int, device: torch.device) -> Workload:
    return Workload(target(spec, device), pictures(spec, rows))


def keep_latents(measured: Workload) -> Workload:
    """The same workload, changed in place: images are encoded once, as from a warm cache."""
    measured.target.store = CachedLatents()
    return measured


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
