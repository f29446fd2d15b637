"""The study over seeds: one small seed, every attack and difference with its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mia_bench.studies.seeds import PAIRS, SINGLE, difference, run_seed, show


@pytest.mark.long
def test_a_seed_gives_every_row_of_the_table(small_overrides, trained, tmp_path, capsys):
    row = run_seed(0, [*small_overrides, f"paths.outputs={trained(tmp_path / 'outputs')}"])
    assert set(SINGLE) <= set(row)
    assert {f"{a} - {b}" for a, b in PAIRS} <= set(row)
    difference = row["clid - loss"]
    assert difference["value"] == row["clid"]["value"] - row["loss"]["value"]
    assert difference["lo"] <= difference["value"] <= difference["hi"]
    capsys.readouterr()
    show({0: row, 1: row})
    said = capsys.readouterr().out
    assert "clid-base - mc15-base" in said
    assert "(0.000)" in said  # the same seed twice has no spread


def test_differences_are_of_the_rows_that_do_not_calibrate(tmp_path):
    """Half of the target's rows calibrate where there is no shadow."""
    member = np.tile([True, False], 40)
    table = pd.DataFrame({"sample_id": [f"{i:02d}" for i in range(80)], "is_member": member})
    table = table.assign(group=table.sample_id, role="target", calibration=np.arange(80) >= 40)
    right = member.astype(float)
    for name, score in (("a", np.where(table.calibration, -right, right)), ("b", right * 0)):
        (tmp_path / name).mkdir()
        table.assign(score=score).to_parquet(tmp_path / name / "scores.parquet")
    assert difference(tmp_path / "a", tmp_path / "b", 0)["value"] == 0.5
