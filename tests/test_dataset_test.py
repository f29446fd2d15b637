"""The command `dataset-test`: which rows it reads, what it prints, what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from score_samples import shifted

from mia_bench.dataset_test import main, read_scores
from mia_bench.utils.errors import MiaError


def a_run(folder, d: float = 3.0, n: int = 20, role: str = "target") -> None:
    """n members and n non-members of a target, and as many other rows that say the opposite."""
    folder.mkdir(parents=True)
    scores, member, group = shifted(d, n=n)
    frames = [
        pd.DataFrame({"sample_id": group, "group": group, "is_member": member, "score": s})
        for s in (scores, -scores)
    ]
    for frame, kind in zip(frames, ("target", role), strict=True):
        frame["role"] = np.where(member, f"{kind}_member", f"{kind}_nonmember")
        frame["calibration"] = frame is frames[1]
    pd.concat(frames).to_parquet(folder / "scores.parquet", index=False)


@pytest.mark.parametrize("role", ["shadow", "target"])  # calibration=shadow, calibration=split
def test_only_evaluation_rows_are_read(tmp_path, role):
    a_run(tmp_path / "run", role=role)
    rows = read_scores(tmp_path / "run")
    assert len(rows["score"]) == 40
    assert rows["score"][rows["is_member"]].mean() > 2


def test_the_command_prints_a_line_per_run(tmp_path, capsys):
    a_run(tmp_path / "clid-0123", d=3)
    a_run(tmp_path / "loss-4567", d=-3)
    (tmp_path / "clid-0123.lock").touch()
    main([*map(str, sorted(tmp_path.iterdir())), "--resamples", "50"])
    printed = capsys.readouterr().out
    clid, loss = (
        next(line for line in printed.splitlines() if name in line) for name in ("clid", "loss")
    )
    assert clid.split()[1] == "5"
    assert loss.split()[1:3] == [">", "20"]
    assert "20 + 20" in clid


def test_a_run_without_evaluation_rows_or_columns_is_refused(tmp_path):
    a_run(tmp_path / "run")
    path = tmp_path / "run" / "scores.parquet"
    table = pd.read_parquet(path)
    table[table.calibration].to_parquet(path)
    with pytest.raises(MiaError, match="no evaluation rows"):
        read_scores(path.parent)
    table.drop(columns="score").to_parquet(path)
    with pytest.raises(MiaError, match="cannot read"):
        read_scores(path.parent)


def test_the_command_says_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "scores.parquet does not exist" in capsys.readouterr().err


def test_no_draws_are_no_test(tmp_path, capsys):
    a_run(tmp_path / "clid-0123")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "clid-0123"), "resamples=0"])
    assert "resamples=0 must be 1 or more" in capsys.readouterr().err
