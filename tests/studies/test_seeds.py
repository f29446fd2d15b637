"""The study over seeds: one small seed, every attack and difference with its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mia_bench.studies.seed_tables import show
from mia_bench.studies.seeds import difference, pairs, refuse_unknown, run_seed
from mia_bench.utils.errors import MiaError


@pytest.mark.long
def test_a_seed_gives_every_row_of_the_table(small_overrides, trained, tmp_path, capsys):
    row = run_seed(0, [*small_overrides, f"paths.outputs={trained(tmp_path / 'outputs')}"])
    attacks = ("clid", "clid_vec", "loss", "mc", "mc15")
    assert {*attacks, *(f"{a}-base" for a in attacks), "mc15 on the base"} <= set(row)
    assert {"clid - mc15", "clid-base - mc15-base", "clid-base - clid"} <= set(row)
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


def test_attacks_are_compared_in_every_variant_and_variants_with_the_attack():
    rows = ["a", "b", "a-base", "b-base", "a-complexity", "blind_image"]
    assert list(pairs([("a", "b"), ("a", "c")], rows)) == [
        ("a", "b"),
        ("a-base", "b-base"),
        ("a-base", "a"),
        ("b-base", "b"),
        ("a-complexity", "a"),
    ]


def test_an_attack_to_compare_that_is_not_run_is_named():
    with pytest.raises(MiaError, match=r"pia is not run; these are: clid, loss"):
        refuse_unknown([("clid", "loss"), ("clid", "pia")], ["clid", "loss"])
