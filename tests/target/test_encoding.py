"""Images and captions of a target: each encoded once, kept, counted."""

from __future__ import annotations

from pathlib import Path

import torch
from target_queries import Build, Draw, rows_of
from torch import Tensor, nn

from mia_bench.target import Batch
from mia_bench.target.diffusion import keyed_noise
from mia_bench.target.tensor_cache import TensorCache


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
