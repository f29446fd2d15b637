"""AUC by noise level, from the losses that a run stored."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from mia_bench.evaluation.labelled_features import load_labelled
from mia_bench.execution.run import execute
from mia_bench.noise_levels import main
from mia_bench.storage.index import run_at
from mia_bench.studies.noise_levels import draw, level_curve
from mia_bench.utils.errors import MiaError
from mia_bench.verification.stored_run import StoredRun

TIMESTEPS = (600, 100, 300)


@pytest.fixture(scope="module")
def runs(small, tmp_path_factory):
    """A run of rf_curve at three levels, and one of the plain loss on the same model."""
    outputs = tmp_path_factory.mktemp("levels")
    done = execute(
        small(
            "attack=[rf_curve,loss]",
            f"attack.rf_curve.timesteps=[{','.join(map(str, TIMESTEPS))}]",
            "attack.rf_curve.n_noise=1",
            "attack.rf_curve.steps=5",
            outputs=outputs,
        )
    )
    return {name: folder for name, _, folder in done.results}


@pytest.mark.long
def test_each_level_is_judged_by_its_own_loss(runs) -> None:
    ref = run_at(runs["rf_curve"])
    curve = level_curve(ref, resamples=50)
    assert curve.levels == (100.0, 300.0, 600.0)
    assert not curve.fractions
    run = StoredRun(ref)
    table = run.feature_tables.evaluation / "features.parquet"
    rows = load_labelled(table, list(pq.read_table(table)["sample_id"].to_pylist()), run.split)
    for level, entry in zip(curve.levels, curve.target, strict=True):
        losses = rows.table.features["log_loss"][:, TIMESTEPS.index(int(level))]
        assert entry["value"] == pytest.approx(roc_auc_score(rows.is_member, -losses))
        assert entry["lo"] <= entry["value"] <= entry["hi"]
    assert curve.members + curve.nonmembers == len(rows.is_member)
    assert curve.control is not None


def test_fractions_are_those_of_the_table(tmp_path) -> None:
    from mia_bench.studies.noise_levels import _fractions

    (tmp_path / "manifest.json").write_text(json.dumps({"levels": {"100": 0.25, "300": 0.5}}))
    assert _fractions(tmp_path, (300, 100)) == [0.5, 0.25]
    with pytest.raises(MiaError, match="lacks the noise level of '600'"):
        _fractions(tmp_path, (300, 600))


@pytest.mark.long
def test_a_figure_takes_one_kind_of_level(runs, tmp_path) -> None:
    curve = level_curve(run_at(runs["rf_curve"]), resamples=50)
    assert draw([curve, curve], tmp_path / "a" / "levels.svg").stat().st_size > 1000
    with pytest.raises(MiaError, match="runs of one kind"):
        draw([curve, replace(curve, fractions=True)], tmp_path / "levels.svg")


@pytest.mark.long
def test_the_command_prints_and_draws(runs, tmp_path, capsys) -> None:
    lock = f"{runs['rf_curve']}.lock"  # as a wildcard gives it too
    main([str(runs["rf_curve"]), lock, f"figure={tmp_path}/levels.png", "resamples=50"])
    printed = capsys.readouterr().out
    assert "timestep" in printed
    assert "no attack's" in printed
    assert (tmp_path / "levels.png").stat().st_size > 1000


@pytest.mark.long
def test_other_attacks_have_no_curve(runs, capsys) -> None:
    with pytest.raises(SystemExit):
        main([str(runs["loss"]), "resamples=50"])
    assert "attack=rf_curve" in capsys.readouterr().err
