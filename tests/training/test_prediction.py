"""Errors and implied noise, of whatever a network predicts, against the identities behind them."""

from __future__ import annotations

import pytest
import torch

from mia_bench.training.prediction import Noised, implied_noise, squared_errors


class Fixed:
    """A schedule of one level."""

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b = a, b

    def levels(self, t, like):
        shape = (-1, *[1] * (like.ndim - 1))
        return torch.full_like(t, self.a, dtype=like.dtype).view(shape), torch.full_like(
            t, self.b, dtype=like.dtype
        ).view(shape)


@pytest.mark.parametrize(
    ("prediction_type", "a", "b"),
    [("epsilon", 0.6, 0.8), ("v_prediction", 0.6, 0.8), ("velocity", 0.7, 0.3)],
)
def test_a_network_that_is_right_has_no_error_and_implies_the_noise(prediction_type, a, b):
    z0, eps = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    noised = Noised.at(Fixed(a, b), z0, torch.zeros(3, dtype=torch.long), eps)
    right = {"epsilon": eps, "v_prediction": a * eps - b * z0, "velocity": eps - z0}
    raw = right[prediction_type]
    assert squared_errors(raw, noised, prediction_type, "native").abs().max() < 1e-10
    assert torch.allclose(implied_noise(raw, noised, prediction_type), eps, atol=1e-5)
    wrong = squared_errors(raw + 0.5, noised, prediction_type, "native")
    assert torch.allclose(wrong, torch.full_like(wrong, 0.25), atol=1e-5)


def test_on_clean_latents_an_error_of_the_velocity_counts_by_its_noise_level():
    z0, eps = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    noised = Noised.at(Fixed(0.7, 0.3), z0, torch.zeros(3, dtype=torch.long), eps)
    errors = squared_errors(eps - z0 + 0.5, noised, "velocity", "clean")
    assert torch.allclose(errors, torch.full_like(errors, (0.3 * 0.5) ** 2), atol=1e-5)
