"""mean_residual.py draw by draw, one sample at a time."""

from __future__ import annotations

import pytest
import torch

from mia_bench.attacks.residuals.mean_residual import mean_residuals, require_draws


@pytest.mark.first_look
@torch.no_grad()
@pytest.mark.parametrize("antithetic", [False, True])
def test_means_are_taken_over_draws_at_each_timestep(literal, antithetic):
    times, n = (100, 450), 4
    means = mean_residuals(literal.target, literal.batch, times, n, antithetic)
    assert means.shape == (4, 2, 4, 8, 8)
    for i in literal.rows:
        z0, c = literal.z0(i), literal.batch.caption[i]
        for j, t in enumerate(times):
            drawn = [literal.noise(i, t, draw) for draw in range(n)]
            noises = [s * e for e in drawn[:2] for s in (1, -1)] if antithetic else drawn
            residuals = [
                literal.eps(literal.a(t) * z0 + literal.b(t) * e, t, c) - e for e in noises
            ]
            expected = torch.stack(residuals).mean(0)
            torch.testing.assert_close(means[i, j], expected, rtol=1e-3, atol=1e-4)
    assert literal.target.queries["forward"] == len(times) * n * 4


@pytest.mark.parametrize(("n", "antithetic"), [(0, False), (0, True), (1, True), (3, True)])
def test_draws_that_cannot_be_made_are_refused(n, antithetic):
    with pytest.raises(ValueError, match=f"n_noise={n}"):
        require_draws(n, antithetic)
