"""Generation against a literal DDIM chain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from target_queries import Build, literal_eps
from torch import Tensor

from mia_bench.target import Target
from mia_bench.target.diffusion import keyed_noise
from mia_bench.target.generation import ddim_moves, require_moves
from mia_bench.target.query import Batch
from mia_bench.target.tensor_cache import TensorCache
from mia_bench.utils.errors import MiaError


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


def test_more_moves_than_timesteps_are_refused_by_the_options_name() -> None:
    require_moves(50, 50)
    with pytest.raises(MiaError, match=r"^walk=51 do not fit into .* 50\. Use 50 or fewer\.$"):
        require_moves(50, 51, "walk")


def test_moves_are_even_and_end_clean() -> None:
    assert ddim_moves(1000, 3) == [(999, 500), (500, 0), (0, -1)]
    assert ddim_moves(1000, 1) == [(999, -1)]


def drawn(target: Target, guidance: float = 1.0) -> Tensor:
    keys = [("a", 0), ("b", 0), ("a", 1)]
    return target.generate(["one", "two", "one"], 4, 3, guidance, keys)


def test_what_is_kept_is_not_sampled_again(random_target: Build, tmp_path: Path) -> None:
    """The same bits, counted as asked; other captions, draws or guidance are other pictures."""
    target, later = random_target("epsilon"), random_target("epsilon")
    expected = drawn(random_target("epsilon"))
    target.generated = TensorCache(tmp_path / "generated")
    assert torch.equal(drawn(target), expected)
    later.generated = TensorCache(tmp_path / "generated")
    assert torch.equal(drawn(later), expected)
    assert later.queries["forward"] == 0
    assert later.queries["asked"] == target.queries["asked"] == 9
    drawn(later, guidance=2.0)
    assert later.queries["forward"] == 18
    assert later.queries["asked"] == 27
    drawn(later, guidance=2.0)
    assert later.queries["forward"] == 18
    assert later.queries["asked"] == 45
    other = later.generate(["two"], 4, 3, 1.0, [("a", 0)])
    assert later.queries["forward"] == 21
    assert not torch.allclose(other, expected[:1])


def test_pictures_from_pictures_are_kept_by_strength(
    random_target: Build, random_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    target, batch = random_target("epsilon"), random_batch(2)
    plain = random_target("epsilon").image_to_image(batch, batch.caption, 0.5, 4)
    target.generated = TensorCache(tmp_path / "generated")
    for _ in range(2):
        assert torch.equal(target.image_to_image(batch, batch.caption, 0.5, 4), plain)
        assert target.queries["forward"] == 2 * 2
    target.image_to_image(batch, batch.caption, 1.0, 4)
    assert target.queries["forward"] == 2 * 2 + 2 * 4
    other = random_target("epsilon")
    other.seed, other.engine.seed, other.generated = 5, 5, target.generated
    again = other.image_to_image(batch, batch.caption, 0.5, 4)
    assert other.queries["forward"] == 2 * 2  # noise of another seed makes another picture
    assert not torch.allclose(again, plain)
