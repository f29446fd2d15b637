"""How much each entry of a latent moves the decoded image, from gradients of the decoder alone.

Paper: arXiv 2511.20592 (CVPR 2026), code mx-ethan-rao/VAE2Diffusion.
    Infl_i(z) = 1/2 log( 1/n sum_{k=1..n} [ J_D(z)^T v_k ]_i^2 + 1e-12 ),    v_k ~ N(0, I) in pixels
The expectation of the sum over k is the squared norm of column i of the decoder's Jacobian J_D.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mia_bench.target.diffusion import keyed_noise

FLOOR = 1e-12  # squared pixels per squared latent unit


def decoder_influence(
    decode: Callable[[Tensor], Tensor], z0: Tensor, sample_id: Sequence[str], seed: int, probes: int
) -> Tensor:
    """Infl (B, *latent). Cost: `probes` backward passes of the decoder an image, of no U-Net.

    Args:
        decode: latents (B, *latent) -> images (B, 3, H, W), through which gradients flow.
        seed: probes are keyed by (seed, sample id, number of the probe).
    """
    with torch.enable_grad():
        z = z0.detach().clone().requires_grad_()
        image = decode(z)
        total = torch.zeros_like(z0)
        for k in range(probes):
            v = torch.stack(
                [
                    keyed_noise(seed, f"influence|{sid}", None, k, image.shape[1:])
                    for sid in sample_id
                ]
            ).to(image)
            (pulled,) = torch.autograd.grad(image, z, v, retain_graph=k + 1 < probes)
            total += pulled.square()
    return 0.5 * (total / probes + FLOOR).log()
