"""PixArt: timesteps, half of the channels, and the image's size where the network takes it."""

from __future__ import annotations

import pytest
import torch
from network_spies import Spy

from mia_bench.models.dit.families.pixart import ALPHA, SIGMA


@pytest.mark.parametrize(
    ("config", "sized"),
    [
        ({"sample_size": 128}, True),
        ({"sample_size": 64}, False),
        ({"sample_size": 128, "use_additional_conditions": False}, False),
    ],
)
def test_the_first_half_is_noise_and_sizes_are_told_where_taken(
    config: dict[str, object], sized: bool
) -> None:
    z, mask = torch.randn(2, 4, 8, 6), torch.ones(2, 5, dtype=torch.bool)
    spy = Spy(torch.cat([z, z + 1], 1))
    call = ALPHA.call({"in_channels": 4, **config}, None)
    t = torch.tensor([10, 999])
    assert torch.equal(call(spy, z, t, torch.zeros(2, 5, 3), {"mask": mask}), z)
    assert spy.told["timestep"] is t
    told = spy.told["added_cond_kwargs"]
    if sized:
        assert told["resolution"].tolist() == [[64, 48]] * 2
        assert told["aspect_ratio"].flatten().tolist() == pytest.approx([64 / 48] * 2)
    else:
        assert told == {"resolution": None, "aspect_ratio": None}


def test_both_are_models_on_betas() -> None:
    assert not ALPHA.flow
    assert not SIGMA.flow
    assert (ALPHA.tokens, SIGMA.tokens) == (120, 300)
