"""How alike two pictures are to somebody who has no access to the target, not even its encoder.

tiny_vae   cosine of the latents of the autoencoder that ships with this package, at 64 px; the
           attacker's own encoder, whatever the target is
open_clip  cosine of open_clip image embeddings, where its weights are there
dino       cosine of the class tokens of a vision transformer (DINO, arXiv 2104.14294, or any that
           transformers reads), where its weights are there
mse, ssim, lpips   as image_similarity.py has them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mia_bench.attacks import Calibration
from mia_bench.attacks.components.holes.attention_maps import (
    class_token_encoder,
    fetch_vision_transformer,
)
from mia_bench.attacks.components.image_similarity import (
    Compare,
    Encoder,
    by_embedding,
    lpips,
    mse,
    open_clip_encoder,
    open_clip_text,
    require,
    resize,
    ssim,
)
from mia_bench.metrics import Floats
from mia_bench.utils.precision import exactly

MIN_ROWS_PER_CLASS = 2
PictureMeasure = Literal["tiny_vae", "open_clip", "dino", "mse", "ssim", "lpips"]
SIGN: dict[str, int] = {
    "tiny_vae": 1,
    "open_clip": 1,
    "dino": 1,
    "mse": -1,
    "ssim": 1,
    "lpips": -1,
}
"""+1 where a larger value means more alike."""
OFFLINE = "compare=tiny_vae, with dino taken out of measures"
"""What needs no vision transformer."""
TINY_VAE_FOLDER = Path(__file__).parents[2] / "assets" / "tiny" / "vae"
TINY_VAE_PIXELS = 64  # per side, as the autoencoder was trained


@dataclass(frozen=True)
class Encoders:
    """Networks of others that measures compare by.

    Args:
        clip: "<model>/<pretrained tag>" of open_clip, or "local-dir:<folder>".
        vit: folder or hub id of a vision transformer.
    """

    clip: str = ""
    vit: str = ""

    def named_by(self, measures: Sequence[str]) -> tuple[str, ...]:
        """Those that `measures` use, as options name them."""
        used = {"open_clip": self.clip, "dino": self.vit}
        return tuple(name for measure, name in used.items() if measure in measures)


def picture_measure(name: PictureMeasure, device: torch.device, encoders: Encoders) -> Compare:
    """The measure `name`: pairs of images (B, 3, h, w) in [-1, 1] -> (B,).

    Raises:
        MiaError: weights are missing.
    """
    match name:
        case "tiny_vae":
            return by_embedding(tiny_vae_encoder(device))
        case "open_clip":
            return by_embedding(open_clip_encoder(encoders.clip, device))
        case "dino":
            return by_embedding(class_token_encoder(encoders.vit, device))
        case "mse":
            return mse
        case "ssim":
            return ssim
        case "lpips":
            return lpips(device)


def caption_fit(
    captions: Sequence[str], clip: str, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """How well images fit their captions by open_clip: (n B, 3, h, w) in [-1, 1] -> (n B,) cosines,
    where row i goes with caption i modulo B.

    Raises:
        MiaError: weights are missing.
    """
    encode, texts = open_clip_encoder(clip, device), open_clip_text(clip, device)(captions)

    @torch.no_grad()
    def fit(image: Tensor) -> Tensor:
        repeated = texts.float().repeat(len(image) // len(texts), 1)
        return F.cosine_similarity(encode(image).float(), repeated)

    return fit


def fetch_measure(name: PictureMeasure, encoders: Encoders) -> None:
    """Weights that the measure `name` takes from outside are here afterwards.

    Raises:
        MiaError: they are neither here nor to be had.
    """
    if name == "dino":
        fetch_vision_transformer(encoders.vit, "vit", OFFLINE)
    elif name != "tiny_vae":
        require(name, encoders.clip, None)


def described(name: PictureMeasure, encoders: Encoders) -> str:
    """The measure in words, with the encoder by its name."""
    return {
        "tiny_vae": "latents of the bundled tiny autoencoder",
        "open_clip": f"open_clip {encoders.clip}",
        "dino": f"class tokens of {encoders.vit}",
        "mse": "pixel error",
        "ssim": "structural similarity",
        "lpips": "LPIPS of AlexNet",
    }[name]


@cache
def tiny_vae_encoder(device: torch.device) -> Encoder:
    """The packaged autoencoder: images (B, 3, h, w) in [-1, 1] -> posterior means."""
    from diffusers import AutoencoderKL

    vae: Any = AutoencoderKL.from_pretrained(str(TINY_VAE_FOLDER), use_safetensors=True)
    vae = vae.eval().requires_grad_(False).to(device)
    vae.decoder = vae.post_quant_conv = None  # nothing is decoded

    @torch.no_grad()
    def encode(image: Tensor) -> Tensor:
        with exactly(image.device):
            latents: Tensor = vae.encode(resize(image, TINY_VAE_PIXELS)).latent_dist.mode()
        return latents

    return encode


def classified(rows: Floats, fitted_on: Floats, calibration: Calibration) -> Floats:
    """(N,) P(member | rows (N, columns)) by a logistic regression on standardised similarities.

    Args:
        fitted_on: the same columns of the calibration rows.

    Raises:
        MiaError: fewer than MIN_ROWS_PER_CLASS calibration rows of a class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    calibration.require(MIN_ROWS_PER_CLASS)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(fitted_on, calibration.is_member)
    return np.asarray(model.predict_proba(rows)[:, 1], dtype=np.float64)
