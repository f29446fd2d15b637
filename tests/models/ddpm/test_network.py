"""The network from scratch: sizes, seeds, and seams to Target."""

from __future__ import annotations

import pytest
import torch

from mia_bench.models.ddpm.network import (
    Architecture,
    NoText,
    Pixels,
    Unconditional,
    initialised,
    require_plain,
)
from mia_bench.utils.errors import MiaError


def small(**changes) -> Architecture:
    sizes = {"side": 8, "widths": (8, 16), "layers": 1, "attention": (4,), "head_width": 4}
    return Architecture(**{**sizes, "norm_groups": 4, "dropout": 0.0, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": 9}, "resolution=9 does not fit 2 levels"),
        ({"attention": (5,)}, "no level of 5 px, the levels have 8, 4"),
        ({"widths": (8, 15)}, "multiples of norm_groups=4"),
        ({"widths": ()}, "one level at least"),
        ({"dropout": 1.0}, r"dropout=1\.0 must lie"),
    ],
)
def test_sizes_that_make_no_network(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_weights_follow_the_seed_alone():
    config = small().config()
    torch.manual_seed(1)
    one = initialised(config, 3, torch.float32)
    torch.manual_seed(2)
    again, other = (initialised(config, seed, torch.float32) for seed in (3, 4))
    states = [net.state_dict() for net in (one, again, other)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not torch.equal(states[0]["conv_in.weight"], states[2]["conv_in.weight"])


@torch.no_grad()
def test_text_is_not_looked_at():
    unet = Unconditional(initialised(small().config(), 0, torch.float32)).eval()
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([3, 9])
    hidden, extra = NoText().embed(["a cat", ""])
    assert hidden.shape == (2, 1, 1)
    assert extra == {}
    assert torch.equal(unet(x, t)[0], unet(x, t, encoder_hidden_states=hidden)[0])
    assert torch.equal(unet(x, t)[0], unet.net(x, t).sample)


def test_latents_are_pixels():
    image = torch.rand(2, 3, 8, 8)
    assert torch.equal(Pixels().decode(Pixels().encode(image)), image)


def test_networks_of_other_meaning_are_refused():
    require_plain({}, "a")
    with pytest.raises(MiaError, match="maps 3 channels to 6"):
        require_plain({"out_channels": 6}, "a")
    with pytest.raises(MiaError, match="conditioned on classes"):
        require_plain({"num_class_embeds": 10}, "a")
