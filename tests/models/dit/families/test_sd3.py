"""SD3's network is told 1000 sigma and the pooled text."""

from __future__ import annotations

import torch
from network_spies import Spy

from mia_bench.models.dit.families.sd3 import FAMILY


def test_the_network_is_told_1000_sigma_and_the_pooled_text() -> None:
    z, hidden, pooled = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 6), torch.randn(2, 7)
    spy = Spy(z + 1)
    found = FAMILY.call({}, None)(spy, z, torch.tensor([0.25, 1.0]), hidden, {"pooled": pooled})
    assert torch.equal(found, z + 1)
    assert spy.told["timestep"].tolist() == [250, 1000]
    assert spy.told["pooled_projections"] is pooled
    assert FAMILY.flow
    assert len(FAMILY.encoders) == len(FAMILY.tokenizers) == 3
