"""Grid queries against literal loops, what is shared between them, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from target_queries import CLOSE, Build, Draw, grid_queries, literal_grid, nfe, rows_of
from torch import Tensor, nn

from mia_bench.target import Batch, Condition, Query


@pytest.mark.first_look
@torch.no_grad()
def test_grid_is_the_literal_loop(random_target: Build, random_batch: Draw, kind: str) -> None:
    target, batch = random_target(kind, seed=5, chunk=7), random_batch(4)
    found = target.predict_grid(target.view(batch), grid_queries(target, batch.caption))
    assert found.shape == (10, 4, 4, 8, 8)
    torch.testing.assert_close(found, literal_grid(target, batch), **CLOSE)


@pytest.mark.first_look
@torch.no_grad()
@pytest.mark.parametrize("size", [1, 7, 32])
def test_batch_size_and_order_do_not_matter(
    size: int, random_target: Build, random_batch: Draw, kind: str
) -> None:
    batch = random_batch(32)
    target = random_target(kind, chunk=13)
    expected = target.predict_grid(target.view(batch), grid_queries(target, batch.caption))
    noise = target.noise(batch.sample_id, 450, 3)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1)).tolist()
    for start in range(0, 32, size):
        target.forget()
        rows = order[start : start + size]
        part = rows_of(batch, rows)
        found = target.predict_grid(target.view(part), grid_queries(target, part.caption))
        assert torch.equal(target.noise(part.sample_id, 450, 3), noise[rows])
        torch.testing.assert_close(found, expected[:, rows], **CLOSE)


@pytest.mark.first_look
@torch.no_grad()
def test_chunk_size_does_not_matter(random_target: Build, random_batch: Draw, kind: str) -> None:
    batch, found = random_batch(5), []
    for chunk in (1, 3, 64):
        target = random_target(kind, chunk=chunk)
        view = target.view(batch)
        cond = target.embed(batch.caption)
        grid = target.predict_grid(view, grid_queries(target, batch.caption))
        found.append(
            (view.z0, grid, target.predict_noise(view.z0, 100, cond), target.decode(view.z0))
        )
    for one, other in zip(found[0], found[2], strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    for one, other in zip(found[1], found[2], strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@torch.no_grad()
def test_chunks_are_full_whatever_axis_they_come_from(
    random_target: Build, random_batch: Draw, tiny_unet: nn.Module
) -> None:
    sizes: list[int] = []

    class Spy(nn.Module):
        def forward(self, z: Tensor, t: Tensor, **rest: Any) -> Any:
            sizes.append(len(z))
            return tiny_unet(z, t, **rest)

    target, batch = random_target(unet=Spy(), chunk=8), random_batch(3)
    target.predict_grid(target.view(batch), grid_queries(target, batch.caption))
    assert sizes == [8, 8, 8, 6]


@torch.no_grad()
def test_shared_draw_is_one_noise_for_every_timestep(
    random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(2)
    cond = target.embed(batch.caption)
    shared, own = Query(10, cond, 4, shared=True), Query(10, cond, 4)
    assert (shared.noise_t, own.noise_t) == (None, 10)
    grid = target.predict_grid(target.view(batch), [shared, own])
    assert not torch.equal(grid[0], grid[1])
    z_t = target.add_noise(target.view(batch).z0, target.noise(batch.sample_id, None, 4), 10)
    torch.testing.assert_close(grid[0], target.predict_noise(z_t, 10, cond), **CLOSE)


@torch.no_grad()
def test_equal_questions_are_asked_once(random_target: Build, random_batch: Draw) -> None:
    target, drawn = random_target(), random_batch(3)
    batch = Batch(drawn.sample_id, drawn.image, ("one two", "one two", ""))
    view = target.view(batch)
    full, null = target.embed(batch.caption), target.null(batch)
    queries = [Query(t, c, draw) for t in (5, 6) for c in (full, null) for draw in (0, 1)]
    # rows 1 and 2: 2 t x 2 conditions x 2 draws = 8 each, although their captions agree: the images
    # differ. Row 3: its caption is the null condition, 4.
    first = target.predict_grid(view, queries)
    assert nfe(target) == (20, 20)
    assert torch.equal(first[0, 2], first[2, 2])
    # the same again, in any order, repeated or in part: nothing new
    again = target.predict_grid(view, [*reversed(queries), queries[0]])
    assert torch.equal(again[:-1].flip(0), first)
    assert torch.equal(again[-1], first[0])
    assert nfe(target) == (20, 20)
    # a shared draw is another question than the draw of its own timestep
    target.predict_grid(view, [Query(5, full, 0, shared=True)])
    assert nfe(target) == (23, 23)


@torch.no_grad()
def test_a_second_attack_pays_nothing_but_is_told_its_own_cost(
    random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(3)
    view, full = target.view(batch), target.embed(batch.caption)
    target.start_attack()
    target.predict_grid(view, [Query(5, full), Query(6, full)])
    assert nfe(target) == (6, 6)
    target.start_attack()
    target.predict_grid(view, [Query(6, full), Query(7, full)])
    assert nfe(target) == (9, 12)
    # noise predictions at given latents are never shared
    for _ in range(2):
        target.predict_noise(view.z0, 6, full)
    assert nfe(target) == (15, 18)
    target.forget()
    view = target.view(batch)
    target.predict_grid(view, [Query(6, target.embed(batch.caption))])
    assert nfe(target) == (18, 21)
    assert target.queries["encode"] == 6
    assert target.queries["backward"] == 0


@torch.no_grad()
def test_a_walk_is_taken_once_for_every_attack_on_the_batch(
    random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(3)
    view, full, null = target.view(batch), target.embed(batch.caption), target.null(batch)

    def walk(cond: Condition) -> Tensor:
        return target.denoise(target.denoise(view.z0, 0, 10, cond), 10, 20, cond)

    for _ in range(2):
        target.start_attack()
        end = target.remember("to 20", view, full, lambda: walk(full))
        assert torch.equal(end, target.remember("to 20", view, full, lambda: walk(full)))
    assert nfe(target) == (6, 12)  # each attack is told its own cost, once
    torch.testing.assert_close(end, walk(full))
    assert nfe(target) == (12, 18)
    # another name, condition or view is another walk
    other = target.view(batch, "flip", lambda x: x.flip(3))
    target.remember("elsewhere", view, full, lambda: walk(full))
    assert not torch.equal(target.remember("to 20", view, null, lambda: walk(null)), end)
    target.remember("to 20", other, full, lambda: walk(full))
    assert nfe(target) == (30, 36)
    target.forget()
    target.remember("to 20", view, full, lambda: walk(full))
    assert nfe(target) == (36, 42)


@torch.no_grad()
def test_views_are_different_questions(random_target: Build, random_batch: Draw) -> None:
    target, batch = random_target(), random_batch(2)
    clean, flipped = target.view(batch), target.view(batch, "flip", lambda x: x.flip(3))
    torch.testing.assert_close(flipped.z0, clean.z0.flip(3))
    cond = target.embed(batch.caption)
    grids = [target.predict_grid(view, [Query(50, cond)]) for view in (clean, flipped)]
    assert not torch.equal(*grids)
    assert nfe(target) == (4, 4)


@torch.no_grad()
def test_noise_of_one_timestep_per_row_is_that_of_each(
    random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(3)
    ids, steps = batch.sample_id, (5, 700, 5)
    each = [target.noise([sid], t, 2)[0] for sid, t in zip(ids, steps, strict=True)]
    assert torch.equal(target.noise(ids, steps, 2), torch.stack(each))
    with pytest.raises(ValueError, match="zip"):
        target.noise(ids, (5, 6))


def test_an_attempt_that_fails_is_not_counted(random_target: Build, random_batch: Draw) -> None:
    target, batch = random_target(), random_batch(2)
    z0, cond = target.encode(batch.image), target.embed(batch.caption)
    target.predict_noise(z0, 5, cond)

    def attempt() -> None:
        with target.uncounted_on_failure():
            target.predict_noise(z0, 5, cond)
            target.queries["backward"] += 2
            raise RuntimeError("late")

    with pytest.raises(RuntimeError, match="late"):
        attempt()
    assert nfe(target) == (2, 2)
    assert target.queries["backward"] == 0
    assert target.queries["embed"] == 2
