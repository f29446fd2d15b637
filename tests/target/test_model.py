"""The target: images, captions, noise and moves, and what its queries cost."""

from __future__ import annotations

from dataclasses import fields

import torch
from target_queries import CLOSE, Build, Draw, nfe

from mia_bench.target import Batch, Query
from mia_bench.target.diffusion import keyed_noise


def test_a_batch_holds_no_labels() -> None:
    assert {f.name for f in fields(Batch)} == {"sample_id", "image_source", "caption"}


@torch.no_grad()
def test_seed_is_part_of_the_noise(random_target: Build, random_batch: Draw) -> None:
    batch = random_batch(2)
    zero, one = (random_target(seed=seed).noise(batch.sample_id, 3) for seed in (0, 1))
    assert not torch.equal(zero, one)
    assert torch.equal(zero[1], keyed_noise(0, batch.sample_id[1], 3, 0, (4, 8, 8)))


@torch.no_grad()
def test_denoise_and_move_go_up_and_down(
    random_target: Build, random_batch: Draw, kind: str
) -> None:
    target, batch = random_target(kind), random_batch(2)
    z, cond = target.view(batch).z0, target.embed(batch.caption)
    for t, s in ((500, 400), (400, 500), (20, -1)):
        eps = target.predict_noise(z, t, cond)
        clean = (z - target.b[t] * eps) / target.a[t]
        expected = clean if s == -1 else target.a[s] * clean + target.b[s] * eps
        torch.testing.assert_close(target.move(z, eps, t, s), expected, **CLOSE)
        torch.testing.assert_close(target.denoise(z, t, s, cond), expected, **CLOSE)
    up = target.move(z, eps, -1, 300)
    torch.testing.assert_close(up, target.add_noise(z, eps, 300), **CLOSE)
    torch.testing.assert_close(target.move(up, eps, 300, -1), z, **CLOSE)
    assert nfe(target) == (12, 12)


def test_the_padding_text_is_the_text_stacks_own(random_target):
    target = random_target()
    assert target.pad_token == "<|endoftext|>"
    target.text.pad_token = "[PAD]"
    assert target.pad_token == "[PAD]"


@torch.no_grad()
def test_each_attack_is_told_what_it_asks_the_base(
    random_target: Build, random_batch: Draw
) -> None:
    """Also where an attack before it has asked the base the same."""
    target, base, batch = random_target(), random_target(), random_batch(3)
    target.put_beside(base)
    asked = []
    for _ in range(2):
        target.start_attack()
        before = target.queries["asked"]
        base.predict_grid(base.view(batch), [Query(5, base.embed(batch.caption))])
        asked.append(target.queries["asked"] - before)
    assert asked == [3, 3]
    assert target.queries["forward"] == 3
