"""The target: images, captions, noise and moves, and what its queries cost."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from target_queries import CLOSE, Build, Draw, grid_queries, literal_grid, nfe, rows_of
from torch import Tensor, nn

from mia_bench.target import Batch, grid_mse
from mia_bench.target.diffusion import keyed_noise
from mia_bench.target.tensor_cache import TensorCache


def test_a_batch_holds_no_labels() -> None:
    assert {f.name for f in fields(Batch)} == {"sample_id", "image_source", "caption"}


@torch.no_grad()
def test_grid_mse_is_the_literal_mean(random_target: Build, random_batch: Draw, kind: str) -> None:
    target, batch = random_target(kind), random_batch(3)
    queries = grid_queries(target, batch.caption)
    found = grid_mse(target, target.view(batch), queries)
    assert found.shape == (3, 10)
    expected = literal_grid(target, batch)
    for q, query in enumerate(queries):
        for i, sid in enumerate(batch.sample_id):
            t = None if query.shared else query.t
            eps = keyed_noise(0, sid, t, query.draw, (4, 8, 8))
            assert found[i, q].item() == pytest.approx(
                ((expected[q, i] - eps) ** 2).mean().item(), rel=1e-4
            )


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


@torch.no_grad()
def test_a_view_is_encoded_once(random_target: Build, random_batch: Draw) -> None:
    target, batch = random_target(), random_batch(3)
    view = target.view(batch)
    assert target.view(batch) is view
    assert view.sample_id == batch.sample_id
    assert torch.equal(view.z0, target.latents.encode(batch.image))
    assert target.queries["encode"] == 3
    target.view(batch, "flip", lambda x: x.flip(3))
    assert target.queries["encode"] == 6


@torch.no_grad()
def test_latents_outlive_the_target(
    random_target: Build, random_batch: Draw, tmp_path: Path
) -> None:
    batch, flip = random_batch(5), lambda x: x.flip(3)
    first = random_target(store=TensorCache(tmp_path))
    expected = first.view(batch).z0, first.view(batch, "flip", flip).z0
    assert first.queries["encode"] == 10

    second = random_target(store=TensorCache(tmp_path))
    turned = rows_of(batch, [4, 1])
    assert torch.equal(second.view(turned).z0, expected[0][[4, 1]])
    assert torch.equal(second.view(turned, "flip", flip).z0, expected[1][[4, 1]])
    assert second.queries["encode"] == 0

    more = random_batch(2, seed=9)
    both = Batch(
        (*batch.sample_id, *more.sample_id),
        torch.cat([batch.image, more.image]),
        (*batch.caption, *more.caption),
    )
    mixed = second.view(both).z0
    assert torch.equal(mixed[:5], expected[0])
    torch.testing.assert_close(mixed[5:], second.latents.encode(more.image))
    assert second.queries["encode"] == 2  # of seven rows, those that were not there
    third = random_target(store=TensorCache(tmp_path))
    third.view(more)
    assert third.queries["encode"] == 0


@torch.no_grad()
def test_equal_captions_are_embedded_once(random_target: Build) -> None:
    target = random_target()
    cond = target.embed(("a b", "c", "a b", ""))
    assert cond.key == ("a b", "c", "a b", "")
    assert cond.hidden.shape == (4, 6, 16)
    assert torch.equal(cond.hidden[0], cond.hidden[2])
    assert torch.equal(cond.hidden, target.text.embed(["a b", "c", "a b", ""])[0])
    assert target.queries["embed"] == 3
    target.embed(("c", "d"))
    assert target.queries["embed"] == 4
    target.forget()
    target.embed(("", ""))
    assert target.queries["embed"] == 4
    target.embed(("c", "d"))
    assert target.queries["embed"] == 6


@torch.no_grad()
def test_decode_stays_within_the_image_range(random_target: Build) -> None:
    target = random_target()
    image = target.decode(10 * keyed_noise(0, "bright", None, 0, (2, 4, 8, 8)))
    assert image.shape == (2, 3, 16, 16)
    assert (image.min(), image.max()) == (-1, 1)
    assert target.queries["decode"] == 2


def test_texts_that_are_not_remembered_are_embedded_again(random_target):
    target = random_target()
    first = target.embed(["one", "two", "one"], remember=False)
    assert target.queries["embed"] == 2
    assert torch.equal(target.embed(["one", "two", "one"]).hidden, first.hidden)
    assert target.queries["embed"] == 4
    target.embed(["two", "three"], remember=False)
    assert target.queries["embed"] == 5


def test_the_padding_text_is_the_text_stacks_own(random_target):
    target = random_target()
    assert target.pad_token == "<|endoftext|>"
    target.text.pad_token = "[PAD]"
    assert target.pad_token == "[PAD]"


@torch.no_grad()
def test_images_that_do_not_fit_leave_the_chunk_of_the_network(
    random_target: Build, random_batch: Draw
) -> None:
    class Small(nn.Module):
        def encode(self, image: Tensor) -> Tensor:
            if len(image) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return image[:, :1].expand(-1, 4, -1, -1)

    target, batch = random_target(chunk=8), random_batch(8)
    target.latents = Small()
    assert target.encode(batch.image).shape == (8, 4, 16, 16)
    assert target.chunk == 8
    assert target.engine.image_chunks.rows == 2
