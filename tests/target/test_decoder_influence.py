"""The influence of latents on the image, against a Jacobian that is written out."""

from __future__ import annotations

import math

import pytest
import torch

from mia_bench.models.ddpm.network import Pixels
from mia_bench.models.encoders import KlCodec
from mia_bench.target.decoder_influence import decoder_influence
from mia_bench.target.diffusion import keyed_noise
from mia_bench.target.tensor_cache import TensorCache
from mia_bench.utils.errors import MiaError


def test_equals_the_transposed_jacobian_times_the_probes() -> None:
    def decode(z):
        return torch.stack([z.sin().sum((2, 3)), (z**2).sum((2, 3))], 2)[..., None]  # (B, C, 2, 1)

    z0 = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = decoder_influence(decode, z0, ["a", "b"], seed=5, probes=3)
    for i, sid in enumerate("ab"):
        jacobian = torch.autograd.functional.jacobian(lambda z: decode(z[None])[0], z0[i])
        flat = jacobian.reshape(6, 48).tolist()
        for entry in range(48):
            total = 0.0
            for k in range(3):
                v = keyed_noise(5, f"influence|{sid}", None, k, (3, 2, 1)).flatten().tolist()
                total += sum(flat[pixel][entry] * v[pixel] for pixel in range(6)) ** 2
            expected = 0.5 * math.log(total / 3 + 1e-12)
            assert found[i].flatten()[entry].item() == pytest.approx(expected, abs=1e-4)


def test_what_the_decoder_ignores_has_the_least_influence() -> None:
    found = decoder_influence(lambda z: z[:, :1] * 10, torch.randn(1, 2, 3, 3), ["a"], 0, 8)
    assert (found[:, 1] < -13).all()  # the logarithm of the floor
    assert (found[:, 0] > 0).all()


def test_neither_the_batch_nor_no_grad_matters(random_target, random_batch) -> None:
    batch = random_batch(4)
    with torch.no_grad():
        whole = random_target().decoder_influence(batch, 2)
    alone = random_target().decoder_influence(type(batch)(
        batch.sample_id[2:3], batch.image[2:3], batch.caption[2:3]), 2)  # fmt: skip
    torch.testing.assert_close(alone[0], whole[2])
    assert not whole.requires_grad


def test_it_is_kept_per_image_and_seed(random_target, random_batch, tmp_path) -> None:
    batch = random_batch(3)
    first = random_target(store=TensorCache(tmp_path))
    found = first.decoder_influence(batch)
    assert first.queries["forward"] == 0
    second = random_target(store=TensorCache(tmp_path))
    second.latents.decode_with_gradients = None  # nothing is decoded again
    assert torch.equal(second.decoder_influence(batch), found)
    other = random_target(store=TensorCache(tmp_path), seed=1)
    assert not torch.equal(other.decoder_influence(batch), found)


def test_pixel_space_and_other_codecs_are_refused(random_target, random_batch) -> None:
    target = random_target()
    for codec in (Pixels(), torch.nn.Identity()):
        target.latents = codec
        with pytest.raises(MiaError, match="has no decoder whose gradients could tell"):
            target.decoder_influence(random_batch(2))


def test_an_autoencoder_passes_gradients_on() -> None:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, sample_size=8)
    codec = KlCodec(lambda: vae, 0.5)
    z0 = torch.randn(1, 4, 8, 8)
    assert not codec.decode(z0.clone().requires_grad_()).requires_grad
    found = decoder_influence(codec.decode_with_gradients, z0, ["a"], 0, 2)
    assert found.isfinite().all()
    assert found.std() > 0
    assert all(weight.grad is None for weight in vae.parameters())
