"""Structural similarity under inversion, against its formula one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from mia_bench.attacks.inversion.structural import Structural
from mia_bench.utils.errors import MiaError


def test_equals_the_formula(literal, measure) -> None:
    expected = []
    for i in literal.rows:
        caption, z = literal.batch.caption[i], literal.z0(i)
        for t in (0, 50):
            z = literal.move(z, literal.eps(z, t, caption), t, t + 50)
        decoded = literal.target.latents.decode(z[None]).clamp(-1, 1)
        image = literal.batch.image[i : i + 1]
        expected.append(structural_similarity_index_measure(image, decoded, data_range=2.0).item())
    found = measure(Structural(), literal.target, literal.batch)["ssim"]
    np.testing.assert_allclose(found, expected, atol=1e-4)  # float32 sums


def test_a_prediction_of_no_noise_scales_the_latent(answering, measure) -> None:
    """With eps = 0 every move multiplies by a_s / a_t, which leaves a_100 / a_0 in the end."""
    case = answering(lambda z, _: torch.zeros_like(z))
    found = measure(Structural(), case.target, case.batch)["ssim"]
    scale = case.a(100) / case.a(0)
    for i in case.rows:
        decoded = case.target.latents.decode(scale * case.z0(i)[None]).clamp(-1, 1)
        image = case.batch.image[i : i + 1]
        alike = structural_similarity_index_measure(image, decoded, data_range=2.0).item()
        assert found[i] == pytest.approx(alike, abs=1e-5)


def test_two_queries_and_more_is_member(literal, measure, attack_fixtures) -> None:
    attack = Structural()
    measure(attack, literal.target, literal.batch)
    assert attack.nfe == (2, 0)
    assert literal.target.queries["forward"] == 8
    features = {"ssim": np.array([0.1, 0.9, 0.5], dtype=np.float32)}
    scores = attack.score(features, attack_fixtures.NOTHING)
    np.testing.assert_allclose(scores, [0.1, 0.9, 0.5], rtol=1e-6)
    attack_fixtures.assert_row_by_row(attack, features)


def test_where_the_inversion_ends_must_be_in_the_schedule() -> None:
    attack = Structural(t=100, k=50)
    assert [*attack.asks_at(101)] == [0, 50]
    with pytest.raises(MiaError, match=r"t=100 is where .* schedule of 100 steps\. Use a multiple"):
        attack.asks_at(100)


def test_a_stride_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="t=100 must be a positive multiple of the stride k=30"):
        Structural(k=30)
