"""Too little memory, and numbers that are not finite: same scores, or a failure that is marked."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from jobs import assert_same, results

from mia_bench.attacks.loss import Loss
from mia_bench.storage import failures, layout
from mia_bench.target.engine.noise_predictor import NoisePredictor
from mia_bench.training.module import FinetuneModule
from mia_bench.utils.errors import MiaError


def failed(outputs) -> failures.Failure:
    (path,) = (outputs / layout.FAILURES_FOLDER).glob("*.json")
    return failures.read_failure(path)


@pytest.mark.long
def test_scores_are_the_same_where_memory_is_short(copied, again, whole, monkeypatch, capsys):
    """A device that takes five rows at a time. Smaller products round differently, in float32."""
    for part in ("runs", "features"):
        shutil.rmtree(copied / part)
    predict, refused = NoisePredictor.__call__, []

    def small(self, z_t, *rest, **options):
        if len(z_t) > 5:
            refused.append(len(z_t))
            raise torch.OutOfMemoryError("tried to allocate more than there is")
        return predict(self, z_t, *rest, **options)

    monkeypatch.setattr(NoisePredictor, "__call__", small)
    again(copied)
    assert max(refused) > 32
    assert "out of memory: 4 rows per call from here on" in capsys.readouterr().err
    for path in whole.glob("runs/*/*/*/scores.parquet"):
        expected, found = (pd.read_parquet(p) for p in (path, copied / path.relative_to(whole)))
        assert list(found.sample_id) == list(expected.sample_id)
        np.testing.assert_allclose(found.score, expected.score, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_a_score_that_is_not_finite_fails_the_run_until_it_is(copied, again, whole, monkeypatch):
    """Of one row of one attack: no attack of the run gets metrics from what is left."""
    for part in ("runs", "features"):
        shutil.rmtree(copied / part)
    features, bad = Loss.features, []

    def poisoned(self, target, batch):
        found = features(self, target, batch)
        if len(bad) == 0:
            bad.append(batch.sample_id[3])
            found["loss"][3] = float("nan")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Loss, "features", poisoned)
        with pytest.raises(MiaError, match="feature 'loss' is not finite for"):
            again(copied)
    assert bad[0] in failed(copied).error
    assert not list(copied.glob("runs/*/*/*/metrics.json"))
    assert not list(copied.glob("features/*/*/*/features.parquet"))
    again(copied)
    assert_same(results(whole), results(copied))
    assert not list((copied / layout.FAILURES_FOLDER).iterdir())


@pytest.mark.long
def test_a_gradient_that_is_not_finite_fails_the_run_and_the_next_goes_on(
    again, whole, tmp_path, monkeypatch
):
    outputs, step = tmp_path / "outputs", FinetuneModule.training_step
    taken = []

    def overflows(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        taken.append(self.global_step)
        return loss * float("inf") if self.global_step == 5 else loss

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneModule, "training_step", overflows)
        with pytest.raises(MiaError, match=r"gradient became (nan|inf) at step 5 \(rows openmoji:"):
            again(outputs)
    assert "at step 5" in failed(outputs).error
    assert not list(outputs.glob("runs/**/*"))

    def counts(self, batch, batch_idx):
        taken.append(self.global_step)
        return step(self, batch, batch_idx)

    taken.clear()
    monkeypatch.setattr(FinetuneModule, "training_step", counts)
    again(outputs)
    assert taken[0] == 4
    assert_same(results(whole), results(outputs))
