"""The study over seeds: one small seed, every attack and difference with its interval."""

from __future__ import annotations

from mia_bench.seeds import PAIRS, SINGLE, run_seed, show


def test_a_seed_gives_every_row_of_the_table(small_overrides, tmp_path, capsys):
    row = run_seed(0, [*small_overrides, f"paths.outputs={tmp_path}"])
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
