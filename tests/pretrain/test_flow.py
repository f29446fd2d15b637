"""The rectified-flow stage in miniature: resumable, exported, read by the transformer builder."""

from __future__ import annotations

import pytest
import torch

from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.pretrain.flow import build_transformer, export_flow, mixed, train_flow


def test_it_is_small() -> None:
    parameters = sum(p.numel() for p in build_transformer().parameters())
    assert 1.5e6 < parameters < 4e6  # below 8 MB in half precision


def test_mixing_ends_at_data_and_noise() -> None:
    z0, eps = torch.zeros(2, 4, 2, 2), torch.ones(2, 4, 2, 2)
    found = mixed(z0, eps, torch.tensor([0.0, 0.25]))
    assert found.flatten(1).mean(1).tolist() == [0, 0.25]


@pytest.mark.long
def test_training_resumes_and_the_export_is_a_target(made, tmp_path) -> None:
    whole = train_flow(made, tmp_path / "a", steps=3, batch=4)
    for steps in (1, 3):  # the same steps, stopped in between (the last two move with the total)
        parts = train_flow(made, tmp_path / "b", steps=steps, batch=4)
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(one, two, atol=5e-3)
    captions = [", ".join(parts_of) for parts_of in made.parts]
    export_flow(parts, captions, tmp_path / "bundle")
    model = DiffusionTransformer(str(tmp_path / "bundle"), 64, chunk=8, tokens=32)
    assert model.base_hash()
    target = model.build(model.load_unet(), seed=0)
    with torch.no_grad():
        image = target.generate(["red apple"], seed=0, steps=2)
        cond = target.embed(["red apple", ""])
    assert image.shape == (1, 3, 64, 64)
    assert cond.hidden.shape == (2, 32, 64)
    assert not torch.equal(cond.hidden[0], cond.hidden[1])
