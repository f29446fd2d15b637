"""The figure of a trajectory, where some values are missing too."""

from __future__ import annotations

import pytest

from mia_bench.studies.trajectory_plot import Trajectory, draw, draw_onsets, onset


def point(step, value, interval=True):
    limits = (value - 0.1, value + 0.1) if interval and value is not None else (None, None)
    auroc = {"value": value, "lo": limits[0], "hi": limits[1]}
    return {"step": step, "auroc": auroc, "tpr": {"value": None, "lo": None, "hi": None}}


@pytest.mark.first_look
@pytest.mark.parametrize("chosen", [None, 100])
def test_a_trajectory_is_drawn_whatever_is_missing(tmp_path, chosen):
    """TPR was not defined; a run has no interval; no held-out rows: no step is chosen."""
    losses = [{"step": 50.0, "val_member": 0.1}, {"step": 100.0, "val_member": 0.09}]
    if chosen is not None:
        losses = [{**row, "val_heldout": 0.2} for row in losses]
    measured = {"heldout_loss": 0.1, "heldout_loss_null": 0.2, "frechet": 3.0}
    trajectory = Trajectory(
        title="photos, no mitigation, seed 0",
        steps_per_epoch=25.0,
        attacks={"loss": [point(0, 0.5), point(50, 0.6, interval=False), point(100, 0.7)]},
        validation=losses,
        utility=[{"step": step, **measured} for step in (None, 50, 100)],
        chosen=chosen,
    )
    assert draw(trajectory, tmp_path) == tmp_path / "trajectory.png"
    assert (tmp_path / "trajectory.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "trajectory.svg").read_text()
    assert "photos, no mitigation, seed 0" in svg
    assert "TPR at 1 % FPR" not in svg
    assert ("early stopping: step 100" in svg) == (chosen is not None)


def test_an_attack_sees_from_where_its_interval_stays_above_chance():
    """Intervals reach 0.1 below: 0.65 sees, 0.55 does not, and an early luck does not count."""
    values = {50: 0.65, 100: 0.55, 150: 0.7, 200: 0.9}
    assert onset([point(step, value) for step, value in values.items()]) == 150
    assert onset([point(50, 0.6)]) is None
    assert onset([point(50, 0.9), point(100, 0.9, interval=False)]) is None
    assert onset([]) is None


def test_onsets_are_named_beside_the_curves(tmp_path):
    attacks = {
        "loss": [point(50, 0.7), point(100, 0.8)],
        "secmi": [point(50, 0.5), point(100, 0.4)],
        "clid": [point(50, None)],
    }
    validation = [{"step": 50.0, "val_member": 0.1, "val_heldout": 0.2}]
    trajectory = Trajectory("photos", 25.0, attacks, validation, [], None)
    assert draw_onsets(trajectory, tmp_path) == tmp_path / "onsets.png"
    svg = (tmp_path / "onsets.svg").read_text()
    assert "loss, 2" in svg
    assert "secmi, never" in svg
    assert "clid, " not in svg
