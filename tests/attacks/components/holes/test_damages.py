"""How many holes a task cuts, how large they are, and which of them the latent cache may keep."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mia_bench.attacks.components.degradations import Task
from mia_bench.attacks.components.holes.damages import HolePlacement, damages, faces

CENTRE = HolePlacement("centre", 1, "square", None, None, "drc1")
HALF = Task.of("inpaint:0.25")


@torch.no_grad()
def test_a_hole_for_every_position_of_the_share_that_is_asked_for(random_target, random_batch):
    target, batch = random_target(), random_batch(2)
    several = replace(CENTRE, place="random", n_mask=3)
    masks = [damage.keep for damage in damages(several, target, batch, HALF)]
    assert len(masks) == 3
    assert all((~keep).float().mean() == pytest.approx(0.25) for keep in masks)
    assert not torch.equal(masks[0], masks[1])


@torch.no_grad()
def test_only_what_its_name_decides_is_named_for_the_latent_cache(
    random_target, random_batch, monkeypatch
):
    target, batch = random_target(), random_batch(1)
    names: list[str] = []
    view = target.view
    monkeypatch.setattr(target, "view", lambda b, n, f: [names.append(n), view(b, n, f)][1])
    for holes in (CENTRE, replace(CENTRE, place="face"), replace(CENTRE, mask="edges")):
        [_] = damages(holes, target, batch, HALF)
    assert names == ["drc1-0.25-centre", "drc1-0.25-edges"]


def test_without_a_detector_no_face_is_found(random_batch):
    batch = random_batch(2)
    middles, was_found = faces(CENTRE, batch)
    assert len(middles) == 2
    assert was_found.tolist() == [0, 0]
