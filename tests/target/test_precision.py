"""Precision of scoring: what is asked for, for as long as it is asked for, near float32."""

from __future__ import annotations

import pytest
import torch

from mia_bench.attacks.loss import Loss
from mia_bench.target import Batch
from mia_bench.target.precision import scoring_in
from mia_bench.utils.errors import MiaError
from mia_bench.utils.precision import _switches, products


def switched() -> list[object]:
    return [getattr(owner, name) for owner, name, _ in _switches("ieee")]


def test_tf32_needs_a_gpu(fresh_target):
    with pytest.raises(MiaError, match="needs a GPU"), scoring_in("tf32", fresh_target()):
        pass


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@torch.no_grad()
def test_half_precision_is_near_and_not_equal(dtype, fresh_target, random_batch, measure):
    batch = random_batch(4)
    exact = measure(Loss(), fresh_target(), batch)["loss"]
    target = fresh_target()
    with scoring_in(dtype, target):
        found = measure(Loss(), target, batch)["loss"]
        assert next(target.unet.parameters()).dtype is getattr(torch, dtype)
    assert found.dtype == "float32"
    assert (found != exact).any()
    assert found == pytest.approx(exact, rel=0.02)


def test_products_are_exact_while_scoring_and_as_before_after(fresh_target):
    before = switched()
    with scoring_in(None, fresh_target()):
        assert switched() == [value for _, _, value in _switches("ieee")]
    assert switched() == before


def test_images_are_encoded_exactly_whatever_is_asked(fresh_target, random_batch):
    """Latents are shared by runs of every dtype."""
    seen = []
    target, batch = fresh_target(), random_batch(2)

    class Spy(torch.nn.Module):
        def encode(self, image):
            seen.append(switched())
            return image[:, :1, ::2, ::2].expand(-1, 4, -1, -1)

        decode = encode

    target.latents = Spy()
    with products("tf32"):
        target.view(Batch(batch.sample_id, batch.image, batch.caption))
        target.decode(torch.zeros(2, 4, 8, 8))
        assert switched() == [value for _, _, value in _switches("tf32")]
    assert seen == [[value for _, _, value in _switches("ieee")]] * 2
