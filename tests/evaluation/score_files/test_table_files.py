"""A table as its file has it, before anything is known of its columns."""

from __future__ import annotations

from pathlib import Path

import pytest

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
