"""Loading models and rows: the right weights, on the right device, through the cache."""

from __future__ import annotations

import pytest
import torch

from mia_bench.config.schema import Evaluation, TrainerOptions
from mia_bench.data.split.roles import Role
from mia_bench.execution.loading import (
    device_of,
    encode_rows,
    generation_cache,
    latent_cache,
    load_model,
    load_target,
    scoring,
)
from mia_bench.planning.make_plan import make_plan
from mia_bench.planning.specs import ModelSpec
from mia_bench.utils.errors import MiaError

CPU = TrainerOptions(accelerator="cpu")


@pytest.fixture
def plan(small, tmp_path):
    return make_plan(small("attack=loss", outputs=tmp_path))


def test_a_step_that_was_not_saved_names_those_that_were(plan, tmp_path):
    spec = ModelSpec("target", "key", tmp_path / "model", Role.TARGET_MEMBER, 4)
    for step in (2, 30):
        (spec.folder / "steps" / str(step)).mkdir(parents=True)
    model = plan.experiment.model
    with pytest.raises(MiaError, match=r"steps/4 was not saved.*Saved steps: \[2, 30\]"):
        load_target(model, spec, latent_cache(tmp_path, model, None), 0)


def test_what_models_generate_is_kept_apart(tmp_path):
    """By weights, step and precision; within the limit of all latents."""
    spec = ModelSpec("target", "key", tmp_path / "model", Role.TARGET_MEMBER, 4)
    other = ModelSpec("target", "other", tmp_path / "model", Role.TARGET_MEMBER, 4)
    later = ModelSpec("target", "key", tmp_path / "model", Role.TARGET_MEMBER, 8)
    places = [(spec, None), (other, None), (later, None), (spec, "bfloat16")]
    folders = {generation_cache(tmp_path, s, dtype, 1.0).folder for s, dtype in places}
    assert len(folders) == len(places)
    assert {folder.parent for folder in folders} == {tmp_path / "latents"}
    assert generation_cache(tmp_path, spec, None, 1.0).limit == 10**9


@pytest.mark.parametrize(
    ("accelerator", "ranks", "there", "device"),
    [
        ("cpu", 1, True, "cpu"),
        ("auto", 1, False, "cpu"),
        ("auto", 1, True, "cuda:0"),
        ("gpu", 2, True, "cuda:1"),
    ],
)
def test_work_outside_a_trainer_has_its_device(accelerator, ranks, there, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setenv("LOCAL_RANK", "1")
    options = TrainerOptions(accelerator=accelerator, devices=ranks)
    assert device_of(options) == torch.device(device)


def test_rows_are_encoded_once_whatever_the_batch(plan, tmp_path):
    items = plan.items_of(plan.rows(Role.TARGET_MEMBER)[:5])
    target = load_model(plan, plan.base, train=True)
    assert target.dtype == torch.float32
    resolution = plan.experiment.model.resolution
    rows = encode_rows(target, items, resolution, Evaluation(batch_size=2), CPU, "members")
    assert rows.sample_id == tuple(item.sample_id for item in items)
    assert rows.z0.shape == (5, *target.latent_shape)
    assert len(list((tmp_path / "cache" / "latents").glob("*"))) == 1
    target.latents.encode = None  # all are in the cache
    again = encode_rows(target, items, resolution, Evaluation(batch_size=5), CPU, "members")
    assert torch.equal(rows.z0, again.z0)
    assert torch.equal(rows.cond.hidden, again.cond.hidden)


@pytest.mark.long
def test_a_chunk_that_memory_reduced_is_remembered(plan, tmp_path):
    from mia_bench.target.chunk_tuning import chunk_context, remembered

    target = load_model(plan, plan.base)
    target.tunable, target.chunk = True, 8
    key = chunk_context(target)
    (tmp_path / "chunks").mkdir()
    with scoring(target, CPU, None, tmp_path / "chunks") as scored:
        assert scored is target
        tuned = target.chunk
        assert remembered(tmp_path / "chunks") == {key: tuned}
        target.chunk = max(1, tuned // 2)
    if tuned > 1:
        assert remembered(tmp_path / "chunks") == {key: tuned // 2}
