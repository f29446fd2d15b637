"""Lines of csv, tsv, jsonl, json and parquet tables: rows as they are, or a problem by number."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from mia_bench.data.readers.tables import csv_lines, read_lines

ROWS = [{"file_name": "a.png", "text": "a cat, on a table"}, {"file_name": "b.png", "text": "dog"}]


def written(folder: Path, suffix: str) -> Path:
    path = folder / f"table{suffix}"
    if suffix in (".csv", ".tsv"):
        pd.DataFrame(ROWS).to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    elif suffix == ".parquet":
        pd.DataFrame(ROWS).to_parquet(path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    else:
        path.write_text(json.dumps({"rows": ROWS}), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_every_kind_gives_the_same_rows(suffix: str, tmp_path: Path) -> None:
    assert [dict(line.row or {}) for line in read_lines(written(tmp_path, suffix))] == ROWS


def test_a_caption_with_a_comma_and_no_quotes_is_a_problem_with_its_line() -> None:
    good, bad = csv_lines(b"file_name,text\na.png,cat\nb.png,a cat, on a table\n", ",")
    assert good.row == {"file_name": "a.png", "text": "cat"}
    assert bad.row is None
    assert (bad.number, bad.problem.partition(";")[0]) == (3, "3 fields where the header has 2")


def test_one_bad_line_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"name": "a"}\nno json\n\xff\n[1]\n{"name": "b"}\n')
    lines = list(read_lines(path))
    assert [line.row for line in lines] == [{"name": "a"}, None, None, None, {"name": "b"}]
    assert [line.number for line in lines] == [1, 2, 3, 4, 5]


def test_an_object_has_an_entry_for_each_picture(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"a.png": "cat", "b.png": ["x", "y"], "c.png": {"n": 1}, "d": 3}))
    assert [line.row for line in read_lines(path)] == [
        {"file_name": "a.png", "caption": "cat"},
        {"file_name": "b.png", "caption": ["x", "y"]},
        {"file_name": "c.png", "n": 1},
        None,
    ]


@pytest.mark.parametrize(("name", "data"), [("a.json", b"3"), ("a.parquet", b"no"), ("a.xls", b"")])
def test_what_is_no_table_is_refused(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"it holds neither|no parquet|a table ends in"):
        list(read_lines(tmp_path / name))


def test_a_column_that_is_named_twice_is_refused_and_blanks_are_no_part_of_names() -> None:
    with pytest.raises(ValueError, match="names the column 'text' twice"):
        list(csv_lines(b"file_name,text,text\na.png,a cat,b\n", ","))
    (line,) = csv_lines(b"file_name , text\na.png,a cat\n", ",")
    assert line.row == {"file_name": "a.png", "text": "a cat"}


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_csv_of_spreadsheets_is_divided_by_what_its_header_has(mark: str) -> None:
    lines = list(csv_lines(f"file_name{mark}text\na.png{mark}a cat, big\n".encode(), ","))
    assert [line.row for line in lines] == [{"file_name": "a.png", "text": "a cat, big"}]
    (bad,) = csv_lines(f"file_name{mark}text\na.png{mark}a{mark}b\n".encode(), ",")
    assert f"quote what has {'semicolons' if mark == ';' else 'tabs'} in it" in bad.problem


@pytest.mark.parametrize("orient", ["records", "columns", "index"])
def test_json_as_pandas_writes_it(orient: str, tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    pd.DataFrame(ROWS).to_json(path, orient=orient)
    assert [dict(line.row or {}) for line in read_lines(path)] == ROWS
    named = path.rename(tmp_path / "metadata.jsonl")
    if orient == "records":
        (line,) = read_lines(named)
        assert "named .json" in line.problem


def test_lines_of_wide_characters_are_read_by_their_mark(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    for codec in ("utf-16-le", "utf-32-be"):
        path.write_bytes(("\ufeff" + "\n".join(map(json.dumps, ROWS))).encode(codec))
        assert [dict(line.row or {}) for line in read_lines(path)] == ROWS


@pytest.mark.parametrize("mark", [",", ";"])
def test_a_caption_that_fills_the_columns_it_leaves_out_is_a_problem(mark: str) -> None:
    rows = [["file_name", "text", "note", "tag"], ["a.png", "cat", "n", "t"]]
    cut = [["b.png", "a cat", " on a table"], ["c.png", "a cat", "seen", " or not"]]
    by_hand = [["d.png", " cat", " note", " tag"], ["e.png", " a cat"], ["f.png", "a cat", "", ""]]
    data = "\n".join(mark.join(row) for row in (*rows, *cut, *by_hand)).encode()
    lines = list(csv_lines(data, mark))
    assert [line.number for line in lines if line.row is None] == [3, 4]
    assert lines[1].problem.endswith("in them: ' on a table'")
    tabs = b"file_name\ttext\tnote\na.png\ta cat\t on a table\n"
    assert [line.problem for line in csv_lines(tabs, "\t")] == [""]


def test_a_header_that_is_no_text_is_no_table_without_rows() -> None:
    with pytest.raises(ValueError, match="its header is not UTF-8"):
        list(csv_lines(bytes(64), ","))
