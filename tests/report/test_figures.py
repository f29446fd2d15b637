"""Figures: which targets are drawn, how attacks keep their colour, what legends say."""

from __future__ import annotations

import pytest

from mia_bench.report import figures
from mia_bench.report.__main__ import run as build_page
from mia_bench.report.attachments import Training, Utility
from mia_bench.report.load import read_outputs


@pytest.fixture
def runs(tmp_path, write_run):
    for mitigation in ("none", "augment"):
        for seed in (0, 1):
            for step in ("100", "300"):
                for attack in ("clid", "loss")[: 2 - seed]:
                    node = {} if mitigation == "none" else {mitigation: {}}
                    key = f"{mitigation}{seed}".ljust(16, "0")
                    write_run(
                        tmp_path, attack, 1.0, key, step, seed=seed, mitigation=node, nfe=seed * 9.0
                    )
    return read_outputs([tmp_path])[0]


@pytest.mark.long
def test_different_targets_come_first(runs):
    """One of every (model, data, mitigation), none before others, the fullest and latest first."""
    targets = figures.targets_of(runs)
    assert len(targets) == 8
    assert [t.first.mitigation for t in targets[:2]] == ["none", "augment"]
    assert all(len(t.runs) == 2 and t.first.step == "300" for t in targets[:2])
    assert {t.first.seed for t in targets[-2:]} == {1}


def test_a_model_that_was_not_trained_here_is_attacked_as_given(tmp_path, write_run):
    write_run(tmp_path, "clid", 1.0, "b" * 16, "base")
    (run,) = read_outputs([tmp_path])[0]
    (target,) = figures.targets_of([run])
    assert target.title.endswith("seed 0, as given")
    assert figures.label(run).endswith("seed 0, as given")
    page = build_page([f"paths.outputs={tmp_path}"]).read_text(encoding="utf-8")
    assert '<td class="num" data-label="step" data-v="0.0">as given</td>' in page
    assert "seed 0, as given</span></summary>" in page


@pytest.mark.long
def test_an_attack_keeps_its_colour(runs):
    series = figures.series_of(runs)
    assert series == {"clid": 0, "loss": 1}
    target = figures.targets_of(runs)[0]
    drawn = str(figures.roc_figure(target, series, "roc").chart)
    for run in target.runs:
        assert f">{run.attack} {run.metrics['auroc']['value']:.3f}</text>" in drawn
    assert 'class="l s0"' in drawn
    assert 'class="l s1"' in drawn


@pytest.mark.long
def test_more_curves_than_one_can_tell_apart_are_counted(runs, monkeypatch):
    monkeypatch.setattr(figures, "MAX_CURVES", 1)
    target = figures.targets_of(runs)[0]
    found = figures.roc_figure(target, figures.series_of(runs), "roc")
    assert "The 1 weakest attacks are left out" in found.caption
    assert found.chart.count("<polyline") == 2


def test_a_trajectory_has_a_point_and_a_band_per_attack(runs):
    same = [c for c in runs if c.model_key.startswith("none0")]
    series = figures.series_of(runs)
    found = figures.trajectory_figure(same, series, "t")
    assert found.chart.count("<circle") == 2
    assert found.chart.count('<g class="p ') == 4  # circles and squares
    assert found.chart.count('class="a b s') == 2
    assert found.chart.count('class="l s') == 2
    assert all(f">{name}</text>" in found.chart for name in ("clid", "loss"))  # a panel each
    tpr = figures.trajectory_figure(same, series, "t", "tpr")
    assert "TPR at 1 % FPR" in tpr.chart


@pytest.mark.long
def test_cost_counts_backward_passes_and_zero_queries_have_a_place(runs):
    found = figures.cost_figure(runs, figures.series_of(runs), "title", "nfe")
    by_attack = [sum(run.attack == name for run in runs) for name in ("clid", "loss")]
    assert found.chart.count("<circle") == by_attack[0]
    assert found.chart.count("<polygon") == by_attack[1]
    assert all(found.chart.count(f">{name}</text>") == 1 for name in ("clid", "loss"))
    assert figures.cost_of(runs[0].metrics) in (0.0, 9.0)


@pytest.mark.long
def test_utility_has_a_shape_per_mitigation(runs):
    series = figures.series_of(runs)
    assert figures.utility_figure(runs, {}, "frechet", series, "u") is None
    utility = {c.target: Utility({"frechet": 3.0}, "tiny VAE", None) for c in runs}
    found = figures.utility_figure(runs, utility, "frechet", series, "u")
    assert "Features: tiny VAE" in found.caption
    assert "<circle" in found.chart
    assert "<polygon" in found.chart


def test_losses_are_named_for_people():
    training = Training((4.0, 8.0), {"train_loss": (0.0, 0.3), "val_heldout": (0.5, 0.4)})
    drawn = str(figures.loss_figure(training, "t", "l").chart)
    assert ">held-out</text>" in drawn
    assert drawn.count("<circle") == 3  # a loss of 0 was not measured
