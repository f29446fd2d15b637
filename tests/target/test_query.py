"""Batches: their images are made when looked at, once, and travel as they are."""

from __future__ import annotations

import pickle
from functools import partial

import pytest
import torch

from mia_bench.target import Batch, Condition
from mia_bench.target.query import LazyImages, undecoded

IDS, CAPTIONS = ("a", "b"), ("one", "two")


def test_images_are_made_when_first_looked_at() -> None:
    made: list[int] = []

    def image() -> torch.Tensor:
        made.append(1)
        return torch.zeros(2, 3, 4, 4)

    batch = undecoded(IDS, image, CAPTIONS)
    moved = batch.to("cpu")
    assert (len(batch), batch.sample_id, batch.caption) == (2, IDS, CAPTIONS)
    assert not made
    assert not moved.decoded
    assert moved.image is batch.image
    assert batch.image.shape == (2, 3, 4, 4)
    assert made == [1]
    assert batch.decoded
    assert batch.to("cpu").decoded


def test_batches_travel_between_processes_decoded_or_not() -> None:
    for batch in (
        Batch(IDS, torch.ones(2, 1), CAPTIONS),
        undecoded(IDS, partial(torch.ones, 2, 1), CAPTIONS),
    ):
        again = pickle.loads(pickle.dumps(batch))
        assert again.decoded == batch.decoded
        assert again.sample_id == IDS
        assert torch.equal(again.image, torch.ones(2, 1))


def test_a_batch_that_was_read_travels_without_what_made_it() -> None:
    batch = undecoded(IDS, lambda: torch.ones(2, 1), CAPTIONS)  # a lambda cannot be pickled
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(batch)
    assert batch.image.shape == (2, 1)
    assert torch.equal(pickle.loads(pickle.dumps(batch)).image, torch.ones(2, 1))


def test_a_batch_cannot_be_changed() -> None:
    batch = undecoded(IDS, partial(torch.ones, 2, 1), CAPTIONS)
    assert isinstance(batch.image_source, LazyImages)
    for name in ("image", "image_source", "sample_id"):
        with pytest.raises(AttributeError):
            setattr(batch, name, None)


def test_rows_of_a_condition_keep_their_extras() -> None:
    cond = Condition(("a", "b", "c"), torch.arange(6.0).view(3, 1, 2), {"n": torch.arange(3.0)})
    part = cond.rows(slice(1, 3))
    assert part.key == ("b", "c")
    assert torch.equal(part.hidden, cond.hidden[1:])
    assert part.extra["n"].tolist() == [1, 2]


def test_only_images_that_are_there_are_pinned(monkeypatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda image: image + 1)
    batch = undecoded(IDS, lambda: torch.zeros(2, 1), CAPTIONS)
    assert batch.pin_memory() is batch
    assert not batch.decoded
    assert torch.equal(batch.image, torch.zeros(2, 1))
    assert torch.equal(batch.pin_memory().image, torch.ones(2, 1))
