"""Random transformer pipelines of every family, narrow, built and saved by diffusers itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pipelines import tokenizer as clip_tokenizer
from torch import nn

WORDS = tuple(
    "a small red boat two dogs the image user system assistant and of on with".split()  # noqa: SIM905
)
SEED = 0


def save_dit(folder: Path, family: str) -> Path:
    """A random pipeline of `family`, one of FAMILIES, in diffusers' layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        pipeline = FAMILIES[family]()
        awaken(pipeline.transformer)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@torch.no_grad()
def awaken(network: nn.Module) -> None:
    """What starts at zero would hide whatever goes into it."""
    for parameter in network.parameters():
        if not parameter.any() or parameter.std() == 0:
            parameter.add_(0.1 * torch.randn_like(parameter))


def word_tokenizer(length: int, side: str = "right") -> Any:
    """Words and punctuation, with a chat template; unknown words share one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    model = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    from tokenizers.processors import TemplateProcessing

    model.post_processor = TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=length,
        padding_side=side,
    )
    made.chat_template = "{% for m in messages %}user {{ m['content'] }} {% endfor %}assistant"
    return made


VOCABULARY = len(WORDS) + 3


def autoencoder(shift: float | None = 0.06) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=1.5,
        shift_factor=shift,
    )


def clip(projection: bool, width: int = 16) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = clip_tokenizer("<|endoftext|>")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=VOCABULARY, d_model=32, d_ff=37, d_kv=8, num_layers=2, num_heads=4)
    )


def gemma() -> Any:
    from transformers import Gemma2Config, Gemma2Model

    return Gemma2Model(
        Gemma2Config(
            vocab_size=VOCABULARY,
            hidden_size=8,
            head_dim=4,
            intermediate_size=16,
            num_attention_heads=2,
            num_hidden_layers=2,
            num_key_value_heads=2,
        )
    )


def euler(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def sd3() -> Any:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=32,
            caption_projection_dim=32,
            pooled_projection_dim=32,
            out_channels=4,
            pos_embed_max_size=16,
            qk_norm="rms_norm",
        ),
        scheduler=euler(shift=3.0),
        vae=autoencoder(),
        text_encoder=clip(True),
        tokenizer=clip_tokenizer("<|endoftext|>"),
        text_encoder_2=clip(True),
        tokenizer_2=clip_tokenizer("!"),
        text_encoder_3=t5(),
        tokenizer_3=word_tokenizer(32),
    )


def flux(guidance: bool = True) -> Any:
    from diffusers import FluxPipeline, FluxTransformer2DModel

    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            guidance_embeds=guidance,
            axes_dims_rope=(4, 4, 8),
        ),
        scheduler=euler(shift=3.0, use_dynamic_shifting=True) if guidance else euler(),
        vae=autoencoder(),
        text_encoder=clip(False),
        tokenizer=clip_tokenizer("<|endoftext|>"),
        text_encoder_2=t5(),
        tokenizer_2=word_tokenizer(32),
    )


def flux2_klein() -> Any:
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=4,
    )
    vae.bn.running_mean.copy_(torch.tensor([0.3, -0.2, 0.1, 0.5]))
    vae.bn.running_var.copy_(torch.tensor([1.5, 0.7, 2.0, 1.1]))
    text = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=28,  # hidden states 9, 18 and 27 are read
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
    )
    return Flux2KleinPipeline(
        transformer=Flux2Transformer2DModel(
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=24,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        scheduler=euler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=Qwen3ForCausalLM(text),
        tokenizer=word_tokenizer(512),
    )


def qwen_image() -> Any:
    from diffusers import (
        AutoencoderKLQwenImage,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [1, 1, 2],
            "rope_theta": 10000.0,
        },
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
    }
    return QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=3,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
        scheduler=euler(use_dynamic_shifting=True, shift_terminal=0.02),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[False, True],
            latents_mean=[-0.5, 0.3, 0.1, 0.7],
            latents_std=[1.5, 2.0, 0.7, 1.1],
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(text_config=text, vision_config=vision)
        ),
        tokenizer=word_tokenizer(1024),
    )


def z_image() -> Any:
    from diffusers import ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    return ZImagePipeline(
        transformer=ZImageTransformer2DModel(
            all_patch_size=(2,),
            all_f_patch_size=(1,),
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[8, 4, 4],
            axes_lens=[256, 32, 32],
        ),
        scheduler=euler(shift=3.0),
        vae=autoencoder(),
        text_encoder=Qwen3Model(
            Qwen3Config(
                vocab_size=VOCABULARY,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=2,
                head_dim=8,
            )
        ),
        tokenizer=word_tokenizer(512),
    )


def sana() -> Any:
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel

    blocks = ("ResBlock", "EfficientViTBlock")
    return SanaPipeline(
        transformer=SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=8,
            sample_size=8,
        ),
        scheduler=euler(shift=3.0),
        vae=AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=blocks,
            decoder_block_types=blocks,
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            scaling_factor=0.41,
        ),
        text_encoder=gemma(),
        tokenizer=word_tokenizer(300),
    )


def lumina2() -> Any:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    return Lumina2Pipeline(
        transformer=Lumina2Transformer2DModel(
            sample_size=4,
            patch_size=2,
            in_channels=4,
            hidden_size=8,
            num_layers=2,
            num_attention_heads=1,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 2, 2),
            cap_feat_dim=8,
        ),
        scheduler=euler(shift=6.0),
        vae=autoencoder(),
        text_encoder=gemma(),
        tokenizer=word_tokenizer(256),
    )


def pixart_transformer(sample: int) -> Any:
    from diffusers import PixArtTransformer2DModel

    return PixArtTransformer2DModel(
        sample_size=sample,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
    )


def pixart(kind: str, sample: int) -> Any:
    import diffusers

    return getattr(diffusers, kind)(
        transformer=pixart_transformer(sample),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            beta_schedule="linear", beta_start=0.0001, beta_end=0.02
        ),
        vae=autoencoder(None),
        text_encoder=t5(),
        tokenizer=word_tokenizer(120),
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    "sd3": sd3,
    "flux_dev": flux,
    "flux_schnell": lambda: flux(False),
    "flux2_klein": flux2_klein,
    "qwen_image": qwen_image,
    "z_image": z_image,
    "sana": sana,
    "lumina2": lumina2,
    "pixart_alpha": lambda: pixart("PixArtAlphaPipeline", 8),
    "pixart_sigma": lambda: pixart("PixArtSigmaPipeline", 8),
}
FLOW = tuple(name for name in FAMILIES if not name.startswith("pixart"))
SIDE = {"qwen_image": 32, "flux2_klein": 32}
"""Pixels a side that give 8 x 8 latents, where it is not 16."""
