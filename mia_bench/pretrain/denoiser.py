"""Stage `denoiser`: U-Net and text encoder trained jointly on cached latents, epsilon objective."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerBase

from mia_bench.pretrain.corpus import Corpus
from mia_bench.pretrain.loop import Progress, Stage, train_averaged
from mia_bench.pretrain.tokenizer import build_tokenizer

TOKENS = 32
WIDTH = 64
P_UNCOND = 0.1
P_FULL_CAPTION = 0.6
VARIANTS = 8
FINAL_AVERAGE_DECAY = 0.9995
SAVE_EVERY_STEPS, JUDGE_EVERY_STEPS = 250, 1000


@dataclass(frozen=True)
class Denoiser:
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    scheduler: DDPMScheduler


def build_unet(latent_size: int) -> UNet2DConditionModel:
    unet: UNet2DConditionModel = UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    return unet.to(memory_format=torch.channels_last)


def build_text_encoder(tokenizer: PreTrainedTokenizerBase) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_scheduler() -> DDPMScheduler:
    """Stable Diffusion 1.x's noise schedule."""
    scheduler: DDPMScheduler = DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )
    return scheduler


@torch.no_grad()
def encode_corpus(vae: AutoencoderKL, corpus: Corpus) -> tuple[Tensor, float]:
    """Latents (2, N, 4, h, w) of every image and its mirror, scaled to unit variance; the scale."""
    pixels = torch.from_numpy(corpus.images).permute(0, 3, 1, 2)
    latents = torch.stack(
        [
            torch.cat(
                [vae.encode(x.float() / 127.5 - 1).latent_dist.mode() for x in view.split(64)]
            )
            for view in (pixels, pixels.flip(3))
        ]
    )
    scale = 1.0 / latents.std().item()
    return latents * scale, scale


def tokenise_variants(corpus: Corpus, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """(N, VARIANTS, TOKENS) ids: the full caption first, then the name and some keywords."""
    generator = torch.Generator().manual_seed(7)
    texts = []
    for name, *keywords in corpus.parts:
        texts.append(", ".join([name, *keywords]))
        for _ in range(VARIANTS - 1):
            keep = torch.rand(len(keywords), generator=generator) < 0.5
            chosen = [word for word, kept in zip(keywords, keep.tolist(), strict=True) if kept]
            texts.append(", ".join([name, *chosen]))
    return tokens(tokenizer, texts).view(len(corpus.parts), VARIANTS, TOKENS)


def tokens(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Tensor:
    encoded = tokenizer(
        texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    )
    ids: Tensor = encoded.input_ids
    return ids


def train_denoiser(
    corpus: Corpus,
    vae: AutoencoderKL,
    folder: Path,
    steps: int,
    batch: int = 32,
    peak: float = 1e-3,
) -> Denoiser:
    """The averaged denoiser after `steps` steps; resumes from `folder`/denoiser.pt."""
    tokenizer = build_tokenizer(TOKENS)
    scheduler = build_scheduler()
    latents, scale = encode_corpus(vae, corpus)
    vae.register_to_config(scaling_factor=scale)
    captions = tokenise_variants(corpus, tokenizer)
    null = tokens(tokenizer, [""])[0]
    held_out = torch.from_numpy(corpus.held_out)
    train = torch.nonzero(~held_out).squeeze(1)

    torch.manual_seed(0)
    model = nn.ModuleDict(
        {"unet": build_unet(latents.shape[-1]), "text": build_text_encoder(tokenizer)}
    )
    average = copy.deepcopy(model)

    def loss_of(g: torch.Generator) -> Tensor:
        rows = train[torch.randint(len(train), (batch,), generator=g)]
        mirror = torch.randint(2, (batch,), generator=g)
        ids = drawn_captions(captions[rows], null, g)
        z0 = latents[mirror, rows]
        t = torch.randint(1000, (batch,), generator=g)
        eps = torch.randn(z0.shape, generator=g)
        z_t = scheduler.add_noise(z0, eps, t).contiguous(memory_format=torch.channels_last)
        return F.mse_loss(model["unet"](z_t, t, model["text"](ids)[0]).sample, eps)

    def log_line(now: Progress) -> str:
        line = f"denoiser {now.step}/{steps} loss {now.mean_loss:.4f} {now.seconds:.2f} s/step"
        if now.step % JUDGE_EVERY_STEPS and not now.last:
            return line
        rows = torch.nonzero(held_out).squeeze(1)
        ids = captions[rows, 0]
        own = evaluate(average, scheduler, latents[0, rows], ids)
        without = evaluate(average, scheduler, latents[0, rows], null.expand_as(ids))
        return f"{line} held-out conditional {own:.4f} null {without:.4f}"

    stage = Stage(peak, 1e-3, FINAL_AVERAGE_DECAY, SAVE_EVERY_STEPS)
    train_averaged(stage, model, average, folder / "denoiser.pt", steps, loss_of, log_line)
    average.eval()
    return Denoiser(average["unet"], average["text"], tokenizer, scheduler)


def drawn_captions(variants: Tensor, null: Tensor, g: torch.Generator) -> Tensor:
    """(B, tokens) ids: mostly the full caption, else a shorter one, sometimes none.

    Args:
        variants: (B, VARIANTS, tokens), the full caption first.
    """
    batch = len(variants)
    chosen = torch.randint(VARIANTS, (batch,), generator=g)
    chosen[torch.rand(batch, generator=g) < P_FULL_CAPTION] = 0
    ids = variants[torch.arange(batch), chosen]
    ids[torch.rand(batch, generator=g) < P_UNCOND] = null
    return ids


@torch.no_grad()
def evaluate(model: nn.ModuleDict, scheduler: DDPMScheduler, z0: Tensor, ids: Tensor) -> float:
    """Mean noise-prediction error over ten fixed timesteps and fixed noise."""
    losses = []
    generator = torch.Generator().manual_seed(11)
    text = model["text"](ids)[0]
    for timestep in range(50, 1000, 100):
        eps = torch.randn(z0.shape, generator=generator)
        t = torch.full((len(z0),), timestep)
        prediction = model["unet"](scheduler.add_noise(z0, eps, t), t, text).sample
        losses.append(F.mse_loss(prediction, eps).item())
    return sum(losses) / len(losses)
