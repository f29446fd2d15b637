"""The tables of `evaluate`: a heading for every cell, of a file and of a difference."""

from __future__ import annotations

from mia_bench.display.score_files import DIFFERENCE_COLUMNS, columns, difference_row


def test_a_difference_has_a_cell_under_every_heading() -> None:
    interval = {"value": 0.1, "lo": 0.05, "hi": 0.15}
    difference = {
        "minus": "first",
        "rows": 40,
        "rows_left_out": 7,
        "resamples": 2000,
        "auroc": {**interval, "p_value": 0.0123},
        "tpr_at_fpr": {"0.01": {"value": None, "lo": None, "hi": None}},
    }
    cells = difference_row("second", difference)
    assert len(cells) == len(DIFFERENCE_COLUMNS)
    assert cells[:4] == ("second", "first", "40", "7")
    assert cells[4] == "0.100 [0.05, 0.15]"
    assert cells[5:] == ("0.012", "n/a")


def test_no_column_tells_a_cost() -> None:
    """A file of scores says nothing of evaluations or seconds."""
    headings = [column.heading for column in columns()]
    assert headings[:3] == ["scores", "members", "non-members"]
    assert not {"NFE", "seconds"} & set(headings)
