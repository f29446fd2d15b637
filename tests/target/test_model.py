"""target.py against literal loops over single questions, and what its memos promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mia_bench.storage.tensor_cache import TensorCache
from mia_bench.target import Batch, Query, Target, grid_mse
from mia_bench.target.diffusion import keyed_noise

Build = Callable[..., Target]
Draw = Callable[..., Batch]

# float32 convolutions and matrix products sum in another order for another number of rows:
# predictions of order 1 move by some 1e-6, and eps = a v + b z adds no more
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(params=["epsilon", "v_prediction"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    ids = tuple(batch.sample_id[i] for i in rows)
    return Batch(ids, batch.image[rows], tuple(batch.caption[i] for i in rows))


def questions(target: Target, captions: tuple[str, ...]) -> list[Query]:
    full, null = target.embed(captions), target.embed([""] * len(captions))
    grid = [Query(t, c, draw) for t in (10, 450) for c in (full, null) for draw in (0, 3)]
    return [*grid, Query(10, full, 1, shared=True), Query(450, null, 1, shared=True)]


def literal_eps(target: Target, z_t: Tensor, t: int, caption: str) -> Tensor:
    """One latent, one timestep, one caption; the v formula written out."""
    hidden, _ = target.text.embed([caption])
    raw = target.unet(z_t[None], torch.tensor([t]), encoder_hidden_states=hidden).sample[0]
    if target.prediction_type == "epsilon":
        return raw
    return target.a[t] * raw + target.b[t] * z_t


@torch.no_grad()
def literal_grid(target: Target, batch: Batch) -> Tensor:
    out = []
    for t, shared, draws in ((10, False, (0, 3)), (450, False, (0, 3)), (0, True, (1,))):
        for condition in ("full", "null"):
            for draw in draws:
                step = {"full": 10, "null": 450}[condition] if shared else t
                for i, sid in enumerate(batch.sample_id):
                    key = None if shared else step
                    eps = keyed_noise(target.seed, sid, key, draw, (4, 8, 8))
                    z0 = target.latents.encode(batch.image[i : i + 1])[0]
                    z_t = target.a[step] * z0 + target.b[step] * eps
                    caption = batch.caption[i] if condition == "full" else ""
                    out.append(literal_eps(target, z_t, step, caption))
    return torch.stack(out).view(-1, len(batch), 4, 8, 8)


def test_a_batch_holds_no_labels() -> None:
    assert {f.name for f in fields(Batch)} == {"sample_id", "image", "caption"}


def test_other_prediction_types_are_refused(random_target: Build) -> None:
    with pytest.raises(ValueError, match="'sample': epsilon or v_prediction"):
        random_target("sample")


# --- the grid ------------------------------------------------------------------------------------


@torch.no_grad()
def test_grid_is_the_literal_loop(random_target: Build, random_batch: Draw, kind: str) -> None:
    target, batch = random_target(kind, seed=5, chunk=7), random_batch(4)
    found = target.predict_grid(target.view(batch), questions(target, batch.caption))
    assert found.shape == (10, 4, 4, 8, 8)
    torch.testing.assert_close(found, literal_grid(target, batch), **CLOSE)


@torch.no_grad()
def test_grid_mse_is_the_literal_mean(random_target: Build, random_batch: Draw, kind: str) -> None:
    target, batch = random_target(kind), random_batch(3)
    queries = questions(target, batch.caption)
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
@pytest.mark.parametrize("size", [1, 7, 32])
def test_batch_size_and_order_do_not_matter(
    size: int, random_target: Build, random_batch: Draw, kind: str
) -> None:
    batch = random_batch(32)
    target = random_target(kind, chunk=13)
    expected = target.predict_grid(target.view(batch), questions(target, batch.caption))
    noise = target.noise(batch.sample_id, 450, 3)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1)).tolist()
    for start in range(0, 32, size):
        target.forget()
        rows = order[start : start + size]
        part = rows_of(batch, rows)
        found = target.predict_grid(target.view(part), questions(target, part.caption))
        assert torch.equal(target.noise(part.sample_id, 450, 3), noise[rows])
        torch.testing.assert_close(found, expected[:, rows], **CLOSE)


@torch.no_grad()
def test_chunk_size_does_not_matter(random_target: Build, random_batch: Draw, kind: str) -> None:
    batch, found = random_batch(5), []
    for chunk in (1, 3, 64):
        target = random_target(kind, chunk=chunk)
        view = target.view(batch)
        cond = target.embed(batch.caption)
        grid = target.predict_grid(view, questions(target, batch.caption))
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
    target.predict_grid(target.view(batch), questions(target, batch.caption))
    assert sizes == [8, 8, 8, 6]


@torch.no_grad()
def test_seed_is_part_of_the_noise(random_target: Build, random_batch: Draw) -> None:
    batch = random_batch(2)
    zero, one = (random_target(seed=seed).noise(batch.sample_id, 3) for seed in (0, 1))
    assert not torch.equal(zero, one)
    assert torch.equal(zero[1], keyed_noise(0, batch.sample_id[1], 3, 0, (4, 8, 8)))


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


# --- equal questions are asked once --------------------------------------------------------------


def asked(target: Target) -> tuple[int, int]:
    return target.queries["forward"], target.queries["asked"]


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
    assert asked(target) == (20, 20)
    assert torch.equal(first[0, 2], first[2, 2])
    # the same again, in any order, repeated or in part: nothing new
    again = target.predict_grid(view, [*reversed(queries), queries[0]])
    assert torch.equal(again[:-1].flip(0), first)
    assert torch.equal(again[-1], first[0])
    assert asked(target) == (20, 20)
    # a shared draw is another question than the draw of its own timestep
    target.predict_grid(view, [Query(5, full, 0, shared=True)])
    assert asked(target) == (23, 23)


@torch.no_grad()
def test_a_second_attack_pays_nothing_but_is_told_its_own_cost(
    random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(3)
    view, full = target.view(batch), target.embed(batch.caption)
    target.start_attack()
    target.predict_grid(view, [Query(5, full), Query(6, full)])
    assert asked(target) == (6, 6)
    target.start_attack()
    target.predict_grid(view, [Query(6, full), Query(7, full)])
    assert asked(target) == (9, 12)
    # noise predictions at given latents are never shared
    for _ in range(2):
        target.predict_noise(view.z0, 6, full)
    assert asked(target) == (15, 18)
    target.forget()
    view = target.view(batch)
    target.predict_grid(view, [Query(6, target.embed(batch.caption))])
    assert asked(target) == (18, 21)
    assert target.queries["encode"] == 6
    assert target.queries["backward"] == 0


@torch.no_grad()
def test_views_are_different_questions(random_target: Build, random_batch: Draw) -> None:
    target, batch = random_target(), random_batch(2)
    clean, flipped = target.view(batch), target.view(batch, "flip", lambda x: x.flip(3))
    torch.testing.assert_close(flipped.z0, clean.z0.flip(3))
    cond = target.embed(batch.caption)
    grids = [target.predict_grid(view, [Query(50, cond)]) for view in (clean, flipped)]
    assert not torch.equal(*grids)
    assert asked(target) == (4, 4)


# --- single moves --------------------------------------------------------------------------------


@torch.no_grad()
def test_predict_noise_is_always_eps(random_target: Build, random_batch: Draw, kind: str) -> None:
    target, batch = random_target(kind), random_batch(3)
    z_t = target.view(batch).z0
    found = target.predict_noise(z_t, 700, target.embed(batch.caption))
    each = [literal_eps(target, z, 700, c) for z, c in zip(z_t, batch.caption, strict=True)]
    torch.testing.assert_close(found, torch.stack(each), **CLOSE)
    per_row = target.predict_noise(z_t, torch.tensor([3, 700, 999]), target.embed(batch.caption))
    torch.testing.assert_close(per_row[1], each[1], **CLOSE)
    assert not torch.allclose(per_row[0], each[0], atol=1e-3)
    assert asked(target) == (6, 6)


def test_an_epsilon_and_a_v_network_can_say_the_same(
    random_target: Build, random_batch: Draw, tiny_unet: nn.Module
) -> None:
    """v = (eps - b z_t) / a: a network wrapped so gives the predictions of the one inside."""
    eps_target, batch = random_target(), random_batch(2)

    class AsV(nn.Module):
        def forward(self, z: Tensor, t: Tensor, **rest: Any) -> tuple[Tensor]:
            a, b = (level[t].view(-1, 1, 1, 1) for level in (eps_target.a, eps_target.b))
            return ((tiny_unet(z, t, **rest)[0] - b * z) / a,)

    v_target = random_target("v_prediction", unet=AsV())
    with torch.no_grad():
        found = [
            t.predict_grid(t.view(batch), questions(t, batch.caption))
            for t in (eps_target, v_target)
        ]
    torch.testing.assert_close(*found, **CLOSE)


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
    assert asked(target) == (12, 12)


@torch.no_grad()
@pytest.mark.parametrize("t", [-2, 1000, 1001])
def test_a_step_outside_the_schedule_is_refused(
    t: int, random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(2)
    z, cond = target.view(batch).z0, target.embed(batch.caption)
    for ask in (
        lambda: target.add_noise(z, z, t),
        lambda: target.move(z, z, t, 0),
        lambda: target.move(z, z, 0, t),
        lambda: target.denoise(z, 10, t, cond),
        lambda: target.denoise(z, t, 10, cond),
    ):
        with pytest.raises(ValueError, match=f"timestep {t} is outside the schedule of 1000"):
            ask()


@torch.no_grad()
@pytest.mark.parametrize("t", [-2, -1, 1000])
def test_the_network_is_asked_at_its_own_steps_only(
    t: int, random_target: Build, random_batch: Draw
) -> None:
    """The clean level is no step of the schedule; noise levels beyond the last are not clean."""
    target, batch = random_target(), random_batch(2)
    view, cond = target.view(batch), target.embed(batch.caption)
    for ask in (
        lambda: target.predict_noise(view.z0, t, cond),
        lambda: target.predict_grid(view, [Query(5, cond), Query(t, cond)]),
    ):
        with pytest.raises(ValueError, match=f"timestep {t} is outside the schedule of 1000"):
            ask()


# --- images and captions -------------------------------------------------------------------------


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
def test_added_conditions_reach_the_network(random_target: Build, random_batch: Draw) -> None:
    seen: list[dict[str, Tensor]] = []

    class Text(nn.Module):
        def embed(self, captions: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
            length = torch.tensor([[float(len(c))] for c in captions])
            return torch.zeros(len(captions), 6, 16), {"length": length}

    class Spy(nn.Module):
        def forward(self, z: Tensor, t: Tensor, added_cond_kwargs: Any, **rest: Any) -> Any:
            del t, rest
            seen.append(added_cond_kwargs)
            return (added_cond_kwargs["length"].view(-1, 1, 1, 1).expand_as(z),)

    target, drawn = random_target(unet=Spy()), random_batch(2)
    target.text = Text()
    batch = Batch(drawn.sample_id, drawn.image, ("abc", "a"))
    view, cond, null = target.view(batch), target.embed(batch.caption), target.null(batch)
    grid = target.predict_grid(view, [Query(5, null), Query(5, cond)])
    assert grid[:, :, 0, 0, 0].tolist() == [[0, 0], [3, 1]]
    assert target.predict_noise(view.z0, 5, cond)[:, 0, 0, 0].tolist() == [3, 1]
    assert all(extra.keys() == {"length"} for extra in seen)


@torch.no_grad()
def test_decode_stays_within_the_image_range(random_target: Build) -> None:
    target = random_target()
    image = target.decode(10 * keyed_noise(0, "bright", None, 0, (2, 4, 8, 8)))
    assert image.shape == (2, 3, 16, 16)
    assert (image.min(), image.max()) == (-1, 1)
    assert target.queries["decode"] == 2


# --- generation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_generation_is_deterministic(guidance: float, random_target: Build, kind: str) -> None:
    target = random_target(kind)
    captions = ("one two", "three", "")
    image = target.generate(captions, seed=4, steps=5, guidance=guidance)
    assert image.shape == (3, 3, 16, 16)
    assert image.isfinite().all()
    assert image.abs().max() <= 1
    assert not image.requires_grad
    assert target.queries["forward"] == 3 * 5 * (1 if guidance == 1.0 else 2)
    again = random_target(kind).generate(captions, seed=4, steps=5, guidance=guidance)
    assert torch.equal(image, again)
    other = target.generate(captions, seed=5, steps=5, guidance=guidance)
    assert not torch.allclose(image, other, atol=1e-2)
    alone = target.generate(captions[:1], seed=4, steps=5, guidance=guidance)
    torch.testing.assert_close(alone, image[:1], rtol=1e-3, atol=1e-3)  # errors grow along 5 steps


@torch.no_grad()
def test_generation_is_the_literal_ddim_chain(random_target: Build, kind: str) -> None:
    target = random_target(kind)
    z = keyed_noise(4, "generate:0", None, 0, (4, 8, 8))
    for t, s in ((999, 500), (500, 0), (0, -1)):
        with_text, free = literal_eps(target, z, t, "one two"), literal_eps(target, z, t, "")
        eps = free + 2.0 * (with_text - free)
        clean = (z - target.b[t] * eps) / target.a[t]
        z = clean if s == -1 else target.a[s] * clean + target.b[s] * eps
    expected = target.latents.decode(z[None]).clamp(-1, 1)
    found = target.generate(["one two"], seed=4, steps=3, guidance=2.0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)  # 1 / a_999 = 15


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


# --- speed ---------------------------------------------------------------------------------------


def test_the_compiled_network_answers_what_nobody_watches(
    random_target: Build, random_batch: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def compiled(unet: nn.Module, mode: str) -> Any:
        return lambda *args, **rest: asked.append(mode) or unet(*args, **rest)

    monkeypatch.setattr(torch, "compile", compiled)
    target, batch = random_target(), random_batch(2)
    target.compile_unet("reduce-overhead")
    assert sum(1 for _ in target.parameters()) == sum(1 for _ in random_target().parameters())
    cond = target.embed(batch.caption)
    with torch.no_grad():
        z0 = target.view(batch).z0
        plain = target.predict_noise(z0, 5, cond, whole=True)
        assert not asked
        assert torch.equal(target.predict_noise(z0, 5, cond), plain)
        assert asked == ["reduce-overhead"]
        assert target.queries["forward"] == 4
    target.predict_noise(z0, 5, cond)
    assert len(asked) == 1


@torch.no_grad()
def test_answers_outlive_the_memory_a_cuda_graph_writes_them_to(
    random_target: Build, random_batch: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaying(unet: nn.Module, **_: Any) -> Any:
        place: list[Tensor] = []

        def replay(*args: Any, **rest: Any) -> tuple[Tensor]:
            answer = unet(*args, **rest)[0]
            place[:] = place or [torch.empty_like(answer)]
            return (place[0].copy_(answer),)

        return replay

    target, batch = random_target(chunk=2), random_batch(4)
    cond = target.embed(batch.caption)
    view = target.view(batch)
    queries = [Query(t, cond) for t in (5, 9)]
    eps, grid = target.predict_noise(view.z0, 5, cond), target.predict_grid(view, queries)
    target.forget()
    monkeypatch.setattr(torch, "compile", replaying)
    target.compile_unet("reduce-overhead")
    view = target.view(batch)
    assert torch.equal(target.predict_noise(view.z0, 5, cond), eps)
    assert torch.equal(target.predict_grid(view, queries), grid)


def test_what_is_remembered_does_not_stay_on_another_device(
    random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(2)
    target.null(batch)
    target.noise(batch.sample_id, 5)
    assert target._hidden
    assert target._noise
    target.to("cpu")
    assert not target._hidden
    assert not target._noise


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
    assert target._image_chunk == 2
