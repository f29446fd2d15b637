"""Precision and recall by number of votes, counted one by one and over resampled groups."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.execution.run import execute
from mia_bench.metrics.bootstrap import Bootstrap
from mia_bench.storage.index import run_at
from mia_bench.storage.stored_files import read_frame
from mia_bench.studies.votes import VoteCurve, draw, shares_of, vote_curve
from mia_bench.utils.errors import MiaError


def test_shares_are_those_of_the_rows_with_so_many_votes():
    """Members have 2, 2, 1, 0 votes, the six others 2, 1, 0, 0, 0, 0."""
    votes = np.array([2, 2, 1, 0, 2, 1, 0, 0, 0, 0])
    is_member = np.arange(10) < 4
    boot = Bootstrap.of(is_member, [str(i) for i in range(10)], 0, 200)
    found = shares_of(votes, is_member, boot, 3)
    values = {name: [entry["value"] for entry in entries] for name, entries in found.items()}
    assert values["recall"] == [3 / 4, 2 / 4, 0]
    assert values["precision"] == [3 / 5, 2 / 3, None]
    p, f = np.array([3 / 4, 2 / 4]), np.array([2 / 6, 1 / 6])
    assert values["balanced"][:2] == pytest.approx(p / (p + f))
    assert values["balanced"][2] is None
    for entries in found.values():
        for entry in entries[:2]:
            assert entry["lo"] <= entry["value"] <= entry["hi"]
            assert entry["lo"] < entry["hi"]


def test_intervals_are_of_groups_drawn_again():
    """Copies of one picture are one picture: its votes come and go together."""
    votes, is_member = np.array([1] * 50 + [0] * 50 + [0, 0]), np.arange(102) < 100
    alone = Bootstrap.of(is_member, [str(i) for i in range(102)], 0, 400)
    group = ["a"] * 50 + ["b"] * 50 + ["c", "d"]
    copies = Bootstrap.of(is_member, group, 0, 400)
    widths = []
    for boot in (alone, copies):
        entry = shares_of(votes, is_member, boot, 1)["recall"][0]
        assert entry["value"] == 0.5
        widths.append(entry["hi"] - entry["lo"])
    assert widths[0] < 0.25
    assert widths[1] == 1


def test_one_curve_and_several_are_drawn(tmp_path):
    entries = [{"value": 0.5, "lo": 0.4, "hi": 0.6}, {"value": None, "lo": None, "hi": None}]
    curve = VoteCurve(
        "drawings", 2, dict.fromkeys(("recall", "precision", "balanced"), entries), 4, 6
    )
    one = draw([curve], tmp_path / "a" / "votes.svg").read_text()
    assert "precision, were they as many" in one
    assert "recall: drawings" in draw([curve, curve], tmp_path / "votes.svg").read_text()


@pytest.mark.long
def test_a_finished_run_gives_its_curve_and_others_are_refused(small, tmp_path):
    words = (
        'attack.drc_tasks.tasks=["inpaint:0.1","inpaint:0.5"]',
        "attack.drc_tasks.steps=2",
        "attack.drc_tasks.aggregate=agree",
        "attack.drc_tasks.agree_fpr=0.3",
    )
    done = execute(small("attack=[drc_tasks,loss]", *words, outputs=tmp_path))
    folders = {name: folder for name, _, folder in done.results}
    curve = vote_curve(run_at(folders["drc_tasks"]), 50)
    table = read_frame(folders["drc_tasks"] / "scores.parquet")
    table = table[~table.calibration]
    assert [e["value"] for e in curve.shares["recall"]] == [
        (table.score[table.is_member] >= k).mean() for k in (1, 2)
    ]
    assert curve.members == table.is_member.sum()
    with pytest.raises(MiaError, match=r"is a run of loss, whose scores are no votes"):
        vote_curve(run_at(folders["loss"]), 50)
