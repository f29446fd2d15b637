"""Random weights in the real architectures, saved as diffusers saves them.

Sizes: "full" has the real widths; "reduced" (SDXL) has every layer of the U-Net at a quarter of the
width and few layers of the text encoders; "narrow" has a handful of channels everywhere.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from mia_bench.models.hub import BUNDLED

CROSS = "CrossAttnDownBlock2D"
CROSS_UP = "CrossAttnUpBlock2D"
SD_BLOCKS = {
    "down_block_types": (CROSS, CROSS, CROSS, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", CROSS_UP, CROSS_UP, CROSS_UP),
}
FULL_UNET: dict[str, dict[str, Any]] = {
    "sd1": {**SD_BLOCKS, "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd2": {
        **SD_BLOCKS,
        "sample_size": 96,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
        "dual_cross_attention": False,
    },
    "sdxl": {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", CROSS, CROSS),
        "up_block_types": (CROSS_UP, CROSS_UP, "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
NARROW_UNET: dict[str, dict[str, Any]] = {
    "sd1": {
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "block_out_channels": (8, 8, 16, 16),
    },
    "sd2": {
        "cross_attention_dim": 16,
        "attention_head_dim": (1, 1, 2, 2),
        "block_out_channels": (8, 8, 16, 16),
    },
    "sdxl": {
        "cross_attention_dim": 40,
        "attention_head_dim": (1, 1, 2),
        "block_out_channels": (8, 8, 16),
        "transformer_layers_per_block": (1, 1, 2),
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 24 + 6 * 8,
    },
}
REDUCED_SDXL = {"block_out_channels": (80, 160, 320)}
FULL_TEXT = {
    "sd1": [{"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}],
    "sd2": [{"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16}],
    "sdxl": [
        {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20},
    ],
}
NARROW_TEXT = {
    "sd1": [{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}],
    "sd2": [{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}],
    "sdxl": [
        {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
        {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2},
    ],
}
REDUCED_TEXT = [{**widths, "num_hidden_layers": 3} for widths in FULL_TEXT["sdxl"]]
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
}


def save_pipeline(
    folder: Path,
    family: str,
    size: str = "narrow",
    dtype: torch.dtype = torch.float32,
    variant: str | None = None,
    shard: str = "10GB",
) -> Path:
    """A random pipeline of `family`, "sd1", "sd2" or "sdxl", in diffusers' layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = build(family, size).to(dtype)
    pipeline.save_pretrained(folder, safe_serialization=True, variant=variant, max_shard_size=shard)
    return folder


def save_with_unet(folder: Path, kind: str, **options: Any) -> Any:
    """A narrow pipeline of the class `kind` in `folder`; returned is the random U-Net with other
    options that is to be saved in the place of its own."""
    from diffusers import UNet2DConditionModel

    save_pipeline(folder, "sd1")
    config = UNet2DConditionModel.load_config(folder / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        unet = UNet2DConditionModel.from_config({**config, **options})
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", kind))
    return unet


def build(family: str, size: str) -> Any:
    from diffusers import (
        DDPMScheduler,
        EulerDiscreteScheduler,
        PNDMScheduler,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )

    few = {"norm_num_groups": 4, "layers_per_block": 1, "sample_size": 8}
    options, widths = {
        "full": ({}, FULL_TEXT[family]),
        "reduced": ({**REDUCED_SDXL, "norm_num_groups": 16}, REDUCED_TEXT),
        "narrow": ({**NARROW_UNET[family], **few}, NARROW_TEXT[family]),
    }[size]
    unet = UNet2DConditionModel(**{**FULL_UNET[family], **options})
    encoders = [text_encoder(config, family, i == 1) for i, config in enumerate(widths)]
    parts = {
        "unet": unet,
        "vae": autoencoder(family, size != "narrow"),
        "text_encoder": encoders[0],
    }
    if family == "sdxl":
        return StableDiffusionXLPipeline(
            **parts,
            text_encoder_2=encoders[1],
            tokenizer=tokenizer("<|endoftext|>"),
            tokenizer_2=tokenizer("!"),
            scheduler=EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading"),
        )
    kind = {"sd1": PNDMScheduler, "sd2": DDPMScheduler}[family]
    steps = {"sd1": {"skip_prk_steps": True}, "sd2": {"clip_sample": False}}[family]
    prediction = {"sd1": "epsilon", "sd2": "v_prediction"}[family]
    return StableDiffusionPipeline(
        **parts,
        tokenizer=tokenizer({"sd1": "<|endoftext|>", "sd2": "!"}[family]),
        scheduler=kind(**SCHEDULE, **steps, prediction_type=prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def autoencoder(family: str, full: bool) -> Any:
    from diffusers import AutoencoderKL

    widths = (128, 256, 512, 512) if full else (4, 4, 8, 8)
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2 if full else 1,
        norm_num_groups=32 if full else 4,
        latent_channels=4,
        sample_size=1024 if family == "sdxl" else 512,
        scaling_factor=0.13025 if family == "sdxl" else 0.18215,
        force_upcast=family == "sdxl",
    )


def text_encoder(widths: dict[str, int], family: str, projects: bool) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        **widths,
        intermediate_size=4 * widths["hidden_size"],
        projection_dim=widths["hidden_size"],
        vocab_size=49408,
        max_position_embeddings=77,
        hidden_act="gelu" if projects or family == "sd2" else "quick_gelu",
        bos_token_id=49406,
        eos_token_id=49407,
    )
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)


def tokenizer(pad: str) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(
        BUNDLED / "tiny" / "tokenizer", model_max_length=77, pad_token=pad
    )


def with_old_tokenizer(folder: Path, part: str = "tokenizer") -> None:
    """Write a tokenizer as the hub's older repositories hold it: vocab.json and merges.txt."""
    whole = json.loads((folder / part / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    settings = json.loads((folder / part / "tokenizer_config.json").read_text(encoding="utf-8"))
    shutil.rmtree(folder / part)
    (folder / part).mkdir()
    merges = [m if isinstance(m, str) else " ".join(m) for m in whole["merges"]]
    (folder / part / "vocab.json").write_text(json.dumps(whole["vocab"]), encoding="utf-8")
    (folder / part / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8"
    )
    special = {key: settings[key] for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
    (folder / part / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    settings = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
    }
    (folder / part / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
