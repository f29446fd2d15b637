"""Stage `export`: the parts as a Stable Diffusion directory with fp16 safetensors."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from mia_bench.pretrain.denoiser import Denoiser


def export(denoiser: Denoiser, vae: AutoencoderKL, out: Path) -> None:
    """Write model_index.json and a folder per part, which diffusers loads like any SD 1.x model."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        tokenizer=denoiser.tokenizer,
        unet=denoiser.unet,
        scheduler=denoiser.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(out, safe_serialization=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"wrote {out} ({size / 2**20:.1f} MB)")
