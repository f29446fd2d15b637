"""Masks against a loop over entries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.attacks.pullback.masks import check_mask, largest, masked_sums


def test_the_least_two_fifths_of_each_image_are_left_out() -> None:
    values = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    mask = largest(values, 0.4)
    for row, kept in zip(values.flatten(1).numpy(), mask.flatten(1).numpy(), strict=True):
        level = np.percentile(row, 40)
        assert kept.tolist() == [float(v > level) for v in row]
        assert kept.sum() == 30
    assert largest(values, 0.0).flatten(1).sum(1).tolist() == [50] * 3
    assert largest(torch.zeros(2, 5), 0.0).sum() == 10  # where all are alike, too


def test_either_mask_sums_powers_of_what_it_keeps(literal) -> None:
    target, batch = literal.target, literal.batch
    residual = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    found = masked_sums(target, batch, residual, 3, 0.4, 2)
    influence = target.decoder_influence(batch, 2).flatten(1).numpy()
    for i, sid in enumerate(batch.sample_id):
        noise = target.noise([f"random mask|{sid}"], None)[0].flatten().numpy()
        for name, ranked in (("influence", influence[i]), ("random", noise)):
            r = residual[i].flatten().tolist()
            level = np.percentile(ranked, 40)
            expected = sum(abs(x) ** 3 for x, v in zip(r, ranked, strict=True) if v > level)
            assert found[name][i].item() == pytest.approx(expected, rel=1e-4)


def test_options_that_make_no_mask_are_refused() -> None:
    for drop, probes in ((1.0, 8), (-0.1, 8), (0.4, 0)):
        with pytest.raises(ValueError, match=f"drop={drop}"):
            check_mask(drop, probes)
