"""A table as its file has it, before anything is known of its columns."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mia_bench.evaluation.score_files import table_files
from mia_bench.evaluation.score_files.table_files import read_table
from mia_bench.utils.errors import MiaError


def test_a_column_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sample_id,is_member,score,score\na,1,2,0\n", encoding="utf-8")
    with pytest.raises(MiaError, match="names the column 'score' twice"):
        read_table(path, ("sample_id", "is_member", "score"))


def test_the_separator_is_the_one_that_divides_known_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id;remark, by hand, of the row\n007;x\n", encoding="utf-8")
    table = read_table(path, ("id", "score"))
    assert table.to_dict("list") == {"id": ["007"], "remark, by hand, of the row": ["x"]}


def test_a_table_that_unfolds_without_bound_is_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"sample_id,score\n" + b"a,1\n" * 5))
    assert len(read_table(path, ("score",))) == 5
    monkeypatch.setattr(table_files, "MAX_UNFOLDED_BYTES", 35)
    with pytest.raises(MiaError, match="unfolds to more than 35 bytes: it is not read"):
        read_table(path, ("score",))
