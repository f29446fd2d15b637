"""Image similarity: SSIM written out; other measures are tested with DRC, in test_drc.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mia_bench.attacks.components import image_similarity


def test_ssim_window_by_window():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 1, 12, 12, generator=generator).double() * 2 - 1 for _ in range(2))
    g = torch.exp(-((torch.arange(11).double() - 5) ** 2) / (2 * 1.5**2))
    w = g[:, None] * g / (g.sum() ** 2)
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    px, py = (F.pad(v, (5, 5, 5, 5), mode="reflect")[0, 0] for v in (x, y))
    values = []
    for i in range(12):
        for j in range(12):
            u, v = px[i : i + 11, j : j + 11], py[i : i + 11, j : j + 11]
            mu, mv = (w * u).sum(), (w * v).sum()
            vu, vv = (w * (u - mu) ** 2).sum(), (w * (v - mv) ** 2).sum()
            cov = (w * (u - mu) * (v - mv)).sum()
            bottom = (mu**2 + mv**2 + c1) * (vu + vv + c2)
            values.append((2 * mu * mv + c1) * (2 * cov + c2) / bottom)
    assert image_similarity.ssim(x, y).item() == pytest.approx(float(np.mean(values)), rel=1e-6)
    assert image_similarity.ssim(x, x).item() == pytest.approx(1)
