"""One U-Net call: eps whatever the network predicts, compiled where nobody observes it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from target_queries import CLOSE, Build, Draw, grid_queries, literal_eps, nfe
from torch import Tensor, nn

from mia_bench.target import Batch, Query


def test_other_prediction_types_are_refused(random_target: Build) -> None:
    with pytest.raises(ValueError, match="'sample': epsilon, v_prediction or velocity"):
        random_target("sample")


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
    assert nfe(target) == (6, 6)


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
            t.predict_grid(t.view(batch), grid_queries(t, batch.caption))
            for t in (eps_target, v_target)
        ]
    torch.testing.assert_close(*found, **CLOSE)


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
