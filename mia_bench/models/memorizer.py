"""A target with an exact memory: the denoiser of a mixture around memorised latents.

The clean latents of a caption c follow

    p(z0 | c) = sum_k w_k(c) N(m_k, s^2 I) + w_0(c) N(mu(c), S^2 I),      s << S

a narrow Gaussian at every memorised latent m_k and a broad one for all the rest. The log-odds of
member k against the broad component grow with match_k, the cosine of the bags of words of c and of
the caption of m_k. The caption of a member gives its narrow component nearly all the weight, a part
of it gives less, and under the null caption the broad one wins wherever z_t comes from. With
D = a_t^2 width^2 + b_t^2 the variance of a component at t, and r ~ w N(z_t; a_t m, D I) the
responsibilities of the components for z_t,

    E[z0 | z_t] = sum r (m + a_t width^2 / D (z_t - a_t m))
    eps_hat     = (z_t - a_t E[z0 | z_t]) / b_t = sum r b_t / D (z_t - a_t m)

so a member is denoised to its own latent and an unseen image towards mu(c), as an overfitted
network would. Points instead of narrow Gaussians would make every DDIM chain straight, for members
and unseen images alike; mu(c) makes the caption matter for unseen images too, a little.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mia_bench.target import LatentStore, Target
from mia_bench.target.diffusion import signal_and_noise


class Mixture(nn.Module):
    """The mixture's denoiser behind diffusers' U-Net signature; float64 inside.

    Args:
        means: (K, *latent) memorised latents.
        keys: (K, width) bags of words of their captions.
        alphas_cumprod: (T,) of the target around it.
        prediction_type: what it returns, "epsilon" or "v_prediction".
        widths: (s, S), standard deviations of the narrow and the broad Gaussians.
        sharpness, threshold: log-odds of a member are sharpness * (match - threshold) per latent
            element; the evidence of z_t itself against the broad one is at most log(S / s) each.
    """

    a: Tensor
    b: Tensor
    keys: Tensor

    def __init__(
        self,
        means: Tensor,
        keys: Tensor,
        alphas_cumprod: Tensor,
        prediction_type: str = "epsilon",
        widths: tuple[float, float] = (0.1, 0.5),
        sharpness: float = 5.0,
        threshold: float = 0.8,
    ) -> None:
        super().__init__()
        self.prediction_type, self.threshold = prediction_type, threshold
        self.sharpness = sharpness * means[0].numel()
        self.means = nn.Parameter(means.clone())
        self.log_widths = nn.Parameter(torch.tensor(widths).log())
        generator = torch.Generator().manual_seed(0)
        shift = torch.randn(keys.shape[1], means[0].numel(), generator=generator)
        self.shift = nn.Parameter(0.1 * shift)  # mu(c) = bag of words of c @ shift
        for name, value in zip(("a", "b"), signal_and_noise(alphas_cumprod), strict=True):
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("keys", keys.clone())

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        encoder_hidden_states: Tensor,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        return_dict: bool = True,
    ) -> tuple[Tensor]:
        """z_t (B, *latent), t, words (B, 1, width) -> (eps or v (B, *latent),)."""
        del added_cond_kwargs, return_dict
        z, words = sample.flatten(1).double(), encoder_hidden_states[:, 0].double()
        t = torch.as_tensor(timestep, device=z.device).expand(len(z))
        a, b = self.a[t, None], self.b[t, None]
        m, mu = self.means.flatten(1).double(), words @ self.shift.double()
        s, S = self.log_widths.double().exp()
        to_members = z.square().sum(1, keepdim=True) - 2 * a * z @ m.T + a**2 * m.square().sum(1)
        square = torch.cat([to_members, (z - a * mu).square().sum(1, keepdim=True)], dim=1)
        D = torch.cat([(a * s).square().expand_as(to_members), (a * S).square()], dim=1) + b**2
        odds = F.pad(self.sharpness * (words @ self.keys.double().T - self.threshold), (0, 1))
        r = torch.softmax(odds - square / (2 * D) - z.shape[1] / 2 * D.log(), dim=1)
        gain = r * b / D
        eps = gain.sum(1, keepdim=True) * z - a * (gain[:, :-1] @ m + gain[:, -1:] * mu)
        prediction = eps if self.prediction_type == "epsilon" else (eps - b * z) / a
        return (prediction.to(sample.dtype).view_as(sample),)


class Pooling(nn.Module):
    """Latents are averages of `side` x `side` pixels; with side 1 images are latents."""

    def __init__(self, side: int = 1) -> None:
        super().__init__()
        self.side = side

    def encode(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, self.side)

    def decode(self, z0: Tensor) -> Tensor:
        return self.decode_with_gradients(z0)

    def decode_with_gradients(self, z0: Tensor) -> Tensor:
        return F.interpolate(z0, scale_factor=float(self.side), mode="nearest")


class HashedWords(nn.Module):
    """Captions as one token: counts of hashed words with unit norm, the zero vector for none."""

    units: Tensor

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.register_buffer("units", torch.eye(width), persistent=False)

    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        bags = [self.units[[self._slot(w) for w in text.split()]].sum(0) for text in captions]
        return F.normalize(torch.stack(bags), dim=1)[:, None], {}

    def _slot(self, word: str) -> int:
        digest = hashlib.blake2b(word.lower().encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") % len(self.units)


def scaled_linear(timesteps: int = 1000) -> Tensor:
    """alphas_cumprod (T,) of Stable Diffusion: betas linear in their square roots."""
    roots = torch.linspace(math.sqrt(8.5e-4), math.sqrt(1.2e-2), timesteps, dtype=torch.float64)
    return (1 - roots.square()).cumprod(0)


def memorizer(
    images: Tensor,
    captions: Sequence[str],
    prediction_type: str = "epsilon",
    widths: tuple[float, float] = (0.1, 0.5),
    side: int = 1,
    seed: int = 0,
    chunk: int = 64,
    store: LatentStore | None = None,
) -> Target:
    """A target that memorised `images` (K, C, H, W) in [-1, 1] with their captions.

    Latents are `side` x `side` pixel averages; `widths` should straddle the noise of no image and
    of all images, as a share of the latents' own spread. Other arguments are those of `Target`.
    """
    codec, text, alphas_cumprod = Pooling(side), HashedWords(), scaled_linear()
    means, keys = codec.encode(images), text.embed(captions)[0][:, 0]
    unet = Mixture(means, keys, alphas_cumprod, prediction_type, widths)
    shape = tuple(means.shape[1:])
    return Target(
        unet, codec, text, shape, alphas_cumprod, prediction_type, seed, chunk, store
    ).eval()
