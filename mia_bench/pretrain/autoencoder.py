"""Stage `autoencoder`: a KL autoencoder in Stable Diffusion's layout for small pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from mia_bench.pretrain.corpus import Corpus
from mia_bench.pretrain.loop import Progress, Stage, train_averaged

KL_WEIGHT = 1e-4
AVERAGE_DECAY = 0.995
SAVE_EVERY_STEPS = 200
GRADIENT_WEIGHT = 0.5


def build_autoencoder(resolution: int) -> AutoencoderKL:
    channels = (16, 32, 64)
    vae: AutoencoderKL = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=resolution,
    )
    return vae.to(memory_format=torch.channels_last)


def train_autoencoder(
    corpus: Corpus, folder: Path, steps: int, batch_size: int = 16, peak_lr: float = 1.5e-3
) -> AutoencoderKL:
    """The averaged autoencoder after `steps` steps; resumes from `folder`/autoencoder.pt."""
    torch.manual_seed(0)
    model, average = (build_autoencoder(corpus.images.shape[1]) for _ in range(2))
    average.load_state_dict(model.state_dict())
    images = torch.from_numpy(corpus.images[~corpus.held_out]).permute(0, 3, 1, 2)
    held_out = torch.from_numpy(corpus.images[corpus.held_out]).permute(0, 3, 1, 2)

    def loss_of(generator: torch.Generator) -> Tensor:
        x = augment(
            images[torch.randint(len(images), (batch_size,), generator=generator)], generator
        )
        x = x.contiguous(memory_format=torch.channels_last)
        posterior = model.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = model.decode(posterior.mean + posterior.std * noise).sample
        divergence: Tensor = posterior.kl().mean() / posterior.mean[0].numel()
        return reconstruction_loss(decoded, x) + KL_WEIGHT * divergence

    def log_line(now: Progress) -> str:
        return (
            f"autoencoder {now.step}/{steps} loss {now.loss:.4f} "
            f"held-out PSNR {psnr(average, held_out):.2f} dB {now.seconds:.2f} s/step"
        )

    stage = Stage(peak_lr, 1e-4, AVERAGE_DECAY, SAVE_EVERY_STEPS)
    train_averaged(stage, model, average, folder / "autoencoder.pt", steps, loss_of, log_line)
    return average.eval()


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 (B,3,H,W) -> [-1,1], with flips, transposes, colour permutations and negatives.

    The evaluation sets have other colours and line styles than the three training sets.
    """
    out = []
    for x in images.float() / 127.5 - 1:
        a, b, c, d = torch.rand(4, generator=generator).tolist()
        x = x.flip(2) if a < 0.5 else x
        x = x.transpose(1, 2) if b < 0.3 else x
        x = x[torch.randperm(3, generator=generator)] if c < 0.5 else x
        out.append(-x if d < 0.05 else x)
    return torch.stack(out)


def reconstruction_loss(y: Tensor, x: Tensor) -> Tensor:
    """L1 on pixels and on their finite differences (the latter keeps outlines sharp)."""
    horizontal = F.l1_loss(y.diff(dim=3), x.diff(dim=3))
    vertical = F.l1_loss(y.diff(dim=2), x.diff(dim=2))
    return F.l1_loss(y, x) + GRADIENT_WEIGHT * (horizontal + vertical)


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of decode(encode(x)) over uint8 images (N,3,H,W)."""
    values = []
    for chunk in images.split(64):
        x = chunk.float() / 127.5 - 1
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        mse = ((y - x) / 2).square().mean(dim=(1, 2, 3))
        values.append(-10 * torch.log10(mse.clamp_min(1e-10)))
    return torch.cat(values).mean().item()
