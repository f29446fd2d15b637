"""Out of memory: the same answers in smaller parts, and an error where one row is too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mia_bench.attacks.gsa import GSA
from mia_bench.target import Batch, Query, Target
from mia_bench.utils.oom_batching import ChunkPolicy


class Small(nn.Module):
    """A U-Net on a device that holds at most `most` rows."""

    def __init__(self, unet: nn.Module, most: int) -> None:
        super().__init__()
        self.unet, self.most = unet, most
        self.sizes: list[int] = []

    def forward(self, z: Tensor, t: Tensor, **rest: Any) -> Any:
        if len(z) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.sizes.append(len(z))
        return self.unet(z, t, **rest)


def test_halves_until_it_fits_and_stays_there(capsys: pytest.CaptureFixture[str]) -> None:
    def work(rows: slice) -> list[int]:
        if rows.stop - rows.start > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 GB")
        return list(range(rows.start, rows.stop))

    chunks = ChunkPolicy(8)
    parts = list(chunks.map(10, work))
    assert [row for part in parts for row in part] == list(range(10))
    assert [len(part) for part in parts] == [2, 2, 2, 2, 2]
    assert "2 rows per call" in capsys.readouterr().err
    assert chunks.rows == 2
    # later work begins with the number that fitted
    assert [len(part) for part in chunks.map(5, work)] == [2, 2, 1]
    assert not capsys.readouterr().err


def test_one_row_too_many_is_an_error() -> None:
    sizes = []

    def work(rows: slice) -> None:
        sizes.append(rows.stop - rows.start)
        raise torch.OutOfMemoryError("CUDA out of memory")

    chunks = ChunkPolicy(4)
    with pytest.raises(torch.OutOfMemoryError):
        list(chunks.map(4, work))
    assert sizes == [4, 2, 1]
    assert chunks.rows == 4  # nothing has fitted, so nothing was learned


def test_groups_are_halved_whole(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []

    def work(groups: slice) -> None:
        sizes.append(groups.stop - groups.start)
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    chunks = ChunkPolicy(8)
    list(chunks.map(3, work, group=3))
    assert sizes == [2, 1, 1, 1]
    assert chunks.rows == 3
    assert "1 groups of 3 rows per call" in capsys.readouterr().err
    # a group is one call, even where it has more rows than a call should
    sizes.clear()
    list(chunks.map(2, work, group=5))
    assert sizes == [1, 1]
    assert chunks.rows == 3


def test_a_policy_within_another_never_exceeds_it() -> None:
    outer = ChunkPolicy(8)
    inner = ChunkPolicy(within=outer)
    assert inner.rows == 8
    outer.rows = 16  # tuned later
    assert inner.rows == 16
    inner.rows = 4
    assert (outer.rows, inner.rows) == (16, 4)
    outer.rows = 2
    assert inner.rows == 2


def test_other_errors_are_not_retried() -> None:
    calls = []

    def work(rows: slice) -> None:
        calls.append(rows)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(ChunkPolicy(4).map(4, work))
    assert len(calls) == 1


@torch.no_grad()
def test_a_target_goes_on_with_the_same_answers(
    random_target: Callable[..., Target], random_batch: Callable[..., Batch], tiny_unet: nn.Module
) -> None:
    batch, plain = random_batch(6), random_target(chunk=2)
    small = Small(tiny_unet, 3)
    target = random_target(unet=small, chunk=16)
    answers = []
    for each in (plain, target):
        cond = each.embed(batch.caption)
        queries = [Query(t, cond) for t in (10, 400)]
        view = each.view(batch)
        answers.append((each.predict_grid(view, queries), each.predict_noise(view.z0, 30, cond)))
    for expected, found in zip(*answers, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert target.chunk == 3
    assert small.sizes == [3] * 4 + [3] * 2
    assert target.queries["forward"] == plain.queries["forward"] == 18


def test_gradients_too(
    random_target: Callable[..., Target], random_batch: Callable[..., Batch], tiny_unet: nn.Module
) -> None:
    batch, attack = random_batch(3), GSA(n_timesteps=2)
    expected = attack.features(random_target(), batch)["log_norm"]
    target = random_target(unet=Small(tiny_unet, 2))
    found = attack.features(target, batch)["log_norm"]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert target.queries["forward"] == 6
