"""Tables of scores as spreadsheets and pandas write them: read as they are meant, or refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mia_bench.evaluation.score_files.reading import read_scores
from mia_bench.evaluation.score_table import score_table_metrics
from mia_bench.utils.errors import MiaError

FRAME = pd.DataFrame(
    {
        "sample_id": [f"s{i}" for i in range(8)],
        "is_member": [1, 0] * 4,
        "score": [1.5, 0.25, 2.0, -0.5, 1.0, 0.75, 3.0, 0.0],
    }
)


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("late", [False, True])
def test_rows_with_more_fields_than_the_header_are_refused(late: bool, tmp_path: Path) -> None:
    """pandas would take the ids for an index, scores for ids and labels for scores."""
    header, *rows = FRAME[["sample_id", "score", "is_member"]].to_csv(index=False).split()
    longer = [row if late and i < 4 else f"{row},{i % 2}" for i, row in enumerate(rows)]
    with pytest.raises(MiaError, match=r"3 (of its header|fields)"):
        read_scores(written(tmp_path / "a.csv", "\n".join([header, *longer])))
    trailing = "\n".join([header, *(f"{row}," for row in rows)])
    table = read_scores(written(tmp_path / "b.csv", trailing))
    assert table.sample_id.tolist() == FRAME.sample_id.tolist()
    assert table.score.tolist() == FRAME.score.tolist()


def test_commas_that_divide_thousands_are_not_decimals(tmp_path: Path) -> None:
    def scores(*values: str) -> list[float]:
        rows = "\n".join(f'{i};{i % 2};"{value}"' for i, value in enumerate(values))
        path = written(tmp_path / "a.csv", f"id;member;score\n{rows}\n")
        return read_scores(path).score.tolist()

    with pytest.raises(MiaError, match="'1,234' are a thousand and more, or a number"):
        scores("1,234", "958")
    with pytest.raises(MiaError, match="a thousand and more"):
        scores("-12,345.5", "0.5")
    assert scores("1,234", "0,958") == [1.234, 0.958]
    assert scores("1,5", "2") == [1.5, 2.0]


@pytest.mark.parametrize("column", ["sample_id", "group"])
def test_blanks_do_not_hide_rows_that_are_calibrated_and_evaluated_on(column, tmp_path) -> None:
    rows = FRAME.assign(group=FRAME.sample_id, calibration=0)
    again = rows.assign(calibration=1, **{column: rows[column] + " "})
    again = again if column == "sample_id" else again.assign(sample_id="c" + again.sample_id)
    both = pd.concat([rows, again])
    table = read_scores(written(tmp_path / "a.csv", both.to_csv(index=False)))
    with pytest.raises(MiaError, match=r"8 (images|groups of near-duplicates) are among"):
        score_table_metrics(table, {}, 0, 100)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_byte_order_marks_are_read(kind: str, encoding: str, tmp_path: Path) -> None:
    text = FRAME.to_csv(index=False) if kind == "csv" else FRAME.to_json(orient="records")
    table = read_scores(written(tmp_path / f"a.{kind}", text, encoding))
    assert table.score.tolist() == FRAME.score.tolist()


def test_ids_in_the_index_of_a_parquet_are_a_column(tmp_path: Path) -> None:
    FRAME.set_index("sample_id").to_parquet(tmp_path / "a.parquet")
    table = read_scores(tmp_path / "a.parquet")
    assert table.sample_id.tolist() == FRAME.sample_id.tolist()
