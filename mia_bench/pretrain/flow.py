"""Stage `flow`: a small rectified-flow transformer on the bundled autoencoder's latents.

FLUX's architecture in miniature (double and single blocks, packed latents), saved as FluxPipeline,
which the builder of transformer families reads: the bundled model's CLIP gives the pooled text and
is kept as it is, a small T5 encoder on the same tokenizer is trained jointly. Rectified flow with
logit-normal levels (Esser et al. 2024, arXiv 2403.03206), as SD3 was trained; the corpus is that of
the bundled U-Net.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, PreTrainedTokenizerBase, T5Config, T5EncoderModel

from mia_bench.models.dit.families.flux import call
from mia_bench.models.hub import BUNDLED
from mia_bench.models.weight_files import load
from mia_bench.pretrain.corpus import Corpus
from mia_bench.pretrain.denoiser import (
    FINAL_AVERAGE_DECAY,
    JUDGE_EVERY_STEPS,
    SAVE_EVERY_STEPS,
    drawn_captions,
    encode_corpus,
    tokenise_variants,
    tokens,
)
from mia_bench.pretrain.flow_bundle import write_bundle
from mia_bench.pretrain.loop import Progress, Stage, train_averaged
from mia_bench.pretrain.tokenizer import build_tokenizer

TOKENS, WIDTH, TEXT_WIDTH = 32, 128, 64
CALL = call({}, None)


@dataclass(frozen=True)
class FlowParts:
    """What is exported: `model` holds the averaged "transformer" and "text"."""

    model: nn.ModuleDict
    clip: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    vae: AutoencoderKL


def build_transformer() -> FluxTransformer2DModel:
    """2.6 M parameters: two double blocks, four single ones, 128 wide."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=WIDTH // 32,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


def build_text(tokenizer: PreTrainedTokenizerBase) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_ff=4 * TEXT_WIDTH,
        d_kv=16,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    return T5EncoderModel(config)


def train_flow(
    corpus: Corpus, folder: Path, steps: int, batch: int = 32, peak: float = 1e-3
) -> FlowParts:
    """The averaged model after `steps` steps; resumes from `folder`/flow.pt."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(TOKENS)
    tiny = BUNDLED / "tiny"
    vae = load(AutoencoderKL, tiny / "vae", exact=True, torch_dtype=torch.float32).eval()
    clip = load(CLIPTextModel, tiny / "text_encoder", exact=True, torch_dtype=torch.float32).eval()
    latents, scale = encode_corpus(vae, corpus)
    vae.register_to_config(scaling_factor=scale, shift_factor=0.0)
    captions, null = tokenise_variants(corpus, tokenizer), tokens(tokenizer, [""])[0]
    held_out = torch.from_numpy(corpus.held_out)
    train = torch.nonzero(~held_out).squeeze(1)

    torch.manual_seed(0)
    model = nn.ModuleDict({"transformer": build_transformer(), "text": build_text(tokenizer)})
    average = copy.deepcopy(model)

    def loss_of(g: torch.Generator) -> Tensor:
        rows = train[torch.randint(len(train), (batch,), generator=g)]
        mirror = torch.randint(2, (batch,), generator=g)
        ids = drawn_captions(captions[rows], null, g)
        sigma = torch.randn(batch, generator=g).sigmoid()
        z0 = latents[mirror, rows]
        eps = torch.randn(z0.shape, generator=g)
        return F.mse_loss(velocity(model, clip, mixed(z0, eps, sigma), sigma, ids), eps - z0)

    def log_line(now: Progress) -> str:
        line = f"flow {now.step}/{steps} loss {now.mean_loss:.4f} {now.seconds:.2f} s/step"
        if now.step % JUDGE_EVERY_STEPS and not now.last:
            return line
        rows = torch.nonzero(held_out).squeeze(1)
        own = judge(average, clip, latents[0, rows], captions[rows, 0])
        without = judge(average, clip, latents[0, rows], null.expand(len(rows), -1))
        return f"{line} held-out conditional {own:.4f} null {without:.4f}"

    stage = Stage(peak, 1e-3, FINAL_AVERAGE_DECAY, SAVE_EVERY_STEPS)
    train_averaged(stage, model, average, folder / "flow.pt", steps, loss_of, log_line)
    return FlowParts(average.eval(), clip, tokenizer, vae)


def mixed(z0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """(1 - sigma) z0 + sigma eps, sigma (B,)."""
    s = sigma.view(-1, 1, 1, 1)
    return (1 - s) * z0 + s * eps


def velocity(
    model: nn.ModuleDict, clip: CLIPTextModel, z: Tensor, sigma: Tensor, ids: Tensor
) -> Tensor:
    """(B, 4, h, w) v_hat, called as the target that reads the export calls it."""
    with torch.no_grad():
        pooled = clip(ids).pooler_output
    return CALL(model["transformer"], z, sigma, model["text"](ids)[0], {"pooled": pooled})


@torch.no_grad()
def judge(model: nn.ModuleDict, clip: CLIPTextModel, z0: Tensor, ids: Tensor) -> float:
    """Mean velocity error over nine fixed levels and fixed noise."""
    losses, generator = [], torch.Generator().manual_seed(11)
    for tenth in range(1, 10):
        eps = torch.randn(z0.shape, generator=generator)
        sigma = torch.full((len(z0),), tenth / 10)
        v = velocity(model, clip, mixed(z0, eps, sigma), sigma, ids)
        losses.append(F.mse_loss(v, eps - z0).item())
    return sum(losses) / len(losses)


def export_flow(parts: FlowParts, captions: Iterable[str], out: Path) -> None:
    """Write what of a FluxPipeline's directory is the model's own, with fp16 safetensors.

    Args:
        captions: of the corpus, whose tokens stay.
    """
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=parts.vae,
        text_encoder=parts.clip,
        tokenizer=parts.tokenizer,
        text_encoder_2=parts.model["text"],
        tokenizer_2=parts.tokenizer,
        transformer=parts.model["transformer"],
    )
    with tempfile.TemporaryDirectory() as whole:
        pipeline.to(torch.float16).save_pretrained(whole, safe_serialization=True)
        write_bundle(Path(whole), captions, out)
