"""Stable Diffusion 3 medium at its real width with few layers and random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from dit_pipelines import SEED, VOCABULARY, euler, word_tokenizer
from pipelines import tokenizer as clip_tokenizer

LAYERS = 2
"""Of 24 in every network; widths, heads, channels and the autoencoder are the real ones."""


def save_sd3(folder: Path, dtype: torch.dtype) -> None:
    """In diffusers' layout."""
    from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        pipeline = StableDiffusion3Pipeline(
            transformer=SD3Transformer2DModel(
                sample_size=128,
                patch_size=2,
                in_channels=16,
                num_layers=LAYERS,
                attention_head_dim=64,
                num_attention_heads=24,
                joint_attention_dim=4096,
                caption_projection_dim=1536,
                pooled_projection_dim=2048,
                out_channels=16,
                pos_embed_max_size=192,
            ),
            scheduler=euler(shift=3.0),
            vae=AutoencoderKL(
                block_out_channels=(128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                latent_channels=16,
                scaling_factor=1.5305,
                shift_factor=0.0609,
                use_quant_conv=False,
                use_post_quant_conv=False,
            ),
            text_encoder=clip(768, 12),
            tokenizer=clip_tokenizer("<|endoftext|>"),
            text_encoder_2=clip(1280, 20),
            tokenizer_2=clip_tokenizer("!"),
            text_encoder_3=t5(),
            tokenizer_3=word_tokenizer(256),
        )
    pipeline.to(dtype).save_pretrained(folder, safe_serialization=True)


def clip(width: int, heads: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    words = clip_tokenizer("<|endoftext|>")
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=LAYERS,
            num_attention_heads=heads,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
        )
    )


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=VOCABULARY,
            d_model=4096,
            d_ff=10240,
            d_kv=64,
            num_heads=64,
            num_layers=LAYERS,
            feed_forward_proj="gated-gelu",
        )
    )
