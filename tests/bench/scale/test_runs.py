"""Metrics of many rows, and copies of finished runs under other keys."""

from __future__ import annotations

from mia_bench.bench.scale import runs


def test_metrics_of_many_rows_are_measured():
    measured = runs.metrics_of_rows(300)
    assert measured["seconds"] > 0
    assert measured["bytes_per_row"] >= 0


def test_shards_of_a_pass_are_counted(tmp_path):
    assert runs._shards(tmp_path / "absent") == 0
    (tmp_path / "shards").mkdir()
    for name in ("0.parquet", "1.parquet", "2.parquet.partial"):
        (tmp_path / "shards" / name).touch()
    assert runs._shards(tmp_path) == 2
