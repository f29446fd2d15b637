"""The spectral filter of updates, against its formula and on matrices made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoded import RECIPE, treated

from mia_bench.mitigations.spectral import Shrink, SpectralFilter
from mia_bench.utils.errors import MiaError

BASE = torch.diag(torch.tensor([10.0, 5.0, 0.1, 0.1]))  # the principal subspace: two axes


def literal(base, update, energy, alignment, suppression):
    """The formula of the module, channel by channel, in NumPy's float64."""
    p, w, qt = np.linalg.svd(base)
    k = next(k for k in range(1, len(w) + 1) if (w[:k] ** 2).sum() >= energy * (w**2).sum())
    u, s, vt = np.linalg.svd(update, full_matrices=False)
    total = np.zeros_like(update)
    for i in range(len(s)):
        left = np.sqrt(sum((p[:, j] @ u[:, i]) ** 2 for j in range(k)))
        right = np.sqrt(sum((qt[j] @ vt[i]) ** 2 for j in range(k)))
        gain = 1.0 if left * right >= alignment else suppression
        total += gain * s[i] * np.outer(u[:, i], vt[i])
    return total


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_it_is_the_literal_formula(shape):
    rng = np.random.default_rng(0)
    base, update = rng.normal(size=(2, *shape))
    for energy, suppression in ((0.9, 0.0), (0.5, 0.25)):
        one = SpectralFilter(energy=energy, alignment=0.5, suppression=suppression)
        found = one.filtered(torch.tensor(base), torch.tensor(update))
        expected = literal(base, update, energy, 0.5, suppression)
        assert not np.allclose(expected, update)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)  # the SVD is in float32


def test_what_lies_inside_is_kept_and_what_lies_outside_removed():
    inside, outside = torch.zeros(2, 4, 4)
    inside[0, 1], outside[2, 3] = 3.0, 2.0
    one = SpectralFilter(energy=0.9, alignment=0.5)
    assert torch.allclose(one.filtered(BASE, inside + outside), inside, atol=1e-6)
    half = SpectralFilter(energy=None, rank=2, alignment=0.5, suppression=0.5)
    assert torch.allclose(half.filtered(BASE, inside + outside), inside + outside / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("energy", "rank", "dimensions"),
    [(0.79, None, 1), (0.9, None, 2), (1.0, None, 4), (None, 3, 3), (None, 9, 4)],
)
def test_the_subspace_holds_the_energy_or_the_rank_that_is_asked(energy, rank, dimensions):
    """Squares of 100, 25, .01 and .01: the first holds .7999 of their sum."""
    left, right = SpectralFilter(energy=energy, rank=rank).subspace(BASE)
    assert left.shape == right.shape == (4, dimensions)


def test_shrinking_knows_no_directions():
    update = torch.arange(6.0).view(2, 3)
    assert torch.equal(Shrink(factor=0.5).filtered(torch.ones(2, 3), update), update / 2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SpectralFilter(energy=None),
        lambda: SpectralFilter(energy=0.5, rank=2),
        lambda: SpectralFilter(energy=1.5),
        lambda: SpectralFilter(energy=None, rank=0),
        lambda: SpectralFilter(alignment=0.0),
        lambda: SpectralFilter(suppression=1.0),
        lambda: Shrink(factor=1.0),
    ],
)
def test_senseless_values_are_refused(wrong):
    with pytest.raises(ValueError, match=r"needed|share|1 or more|between"):
        wrong()


def test_random_weights_have_no_principal_subspace():
    context = treated(replace(RECIPE, from_scratch=True)).context
    with pytest.raises(MiaError, match="from_scratch"):
        SpectralFilter().check(context)


def test_nothing_lies_between_random_weights_and_trained_ones():
    context = treated(replace(RECIPE, from_scratch=True)).context
    with pytest.raises(MiaError, match=r"mitigation shrink: finetune\.from_scratch=true"):
        Shrink().check(context)
    Shrink().check(treated(RECIPE).context)
