"""Tables: whole cells, columns dropped in their order, notes for what is shown."""

from __future__ import annotations

import pytest
from rich.console import Console

from mia_bench.display import console
from mia_bench.display.console import FOOTNOTES, Column, interval, table

COLUMNS = (
    *(Column("attack", left=True), Column("AUC"), Column("TPR", 1)),
    *(Column("seconds", 3), Column("NFE", 2, footnote="NFE: evaluations")),
)
ROWS = [("clid", "0.854 [0.82, 0.89]", "0.144 [0.07, 0.22]*", "60", "15"), ("x", "n/a", "", "", "")]


@pytest.fixture
def printed(monkeypatch, capsys):
    """printed(width, columns, rows, **more): lines of a table; no width: not a terminal."""

    def of(width: int | None, columns=COLUMNS, rows=ROWS, **more) -> list[str]:
        def terminal(**options):
            size = {} if width is None else {"width": width, "force_terminal": True}
            return Console(**options, **size, color_system=None, legacy_windows=False)

        monkeypatch.setattr(console, "Console", terminal)
        table("title", columns, rows, **more)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return of


def head(lines: list[str]) -> list[str]:
    return next(line for line in lines if "attack" in line).split()


@pytest.mark.parametrize(
    ("width", "left"),
    [
        (200, ["attack", "AUC", "TPR", "seconds", "NFE"]),
        (None, ["attack", "AUC", "TPR", "seconds", "NFE"]),
        (64, ["attack", "AUC", "TPR", "NFE"]),
        (54, ["attack", "AUC", "TPR"]),
        (30, ["attack", "AUC"]),
        (10, ["attack", "AUC"]),
    ],
)
def test_columns_are_dropped_by_their_rank(printed, width, left):
    lines = printed(width, rest="metrics.json")
    assert head(lines) == left
    text = " ".join(" ".join(lines).split())
    assert ("too narrow" in text) == (len(left) < 5)
    if len(left) < 5:
        gone = ", ".join(name for name in ("TPR", "seconds", "NFE") if name not in left)
        assert f"too narrow: {gone} (metrics.json has them)." in text


@pytest.mark.parametrize("width", [30, 40, 48, 52, 64, 80, 120, None])
def test_no_cell_is_cut_or_wrapped_and_no_line_is_too_long(printed, width):
    lines = printed(width)
    (row,) = [line for line in lines if "clid" in line]
    assert "0.854 [0.82, 0.89]" in row
    assert not any("…" in line for line in lines)
    if width is not None:
        assert max(map(len, lines)) <= width


def test_a_table_in_a_pipe_is_the_one_of_a_wide_terminal(printed):
    assert printed(None) == printed(300)


def test_notes_are_those_of_what_is_shown(printed):
    wide = " ".join(" ".join(printed(200)).split())
    assert FOOTNOTES["interval"] in wide
    assert FOOTNOTES["coarse"] in wide
    assert "NFE: evaluations." in wide
    assert FOOTNOTES["flagged"] not in wide
    narrow = " ".join(" ".join(printed(30)).split())
    assert FOOTNOTES["interval"] in narrow
    assert FOOTNOTES["coarse"] not in narrow
    assert "NFE: evaluations" not in narrow
    assert FOOTNOTES["base"] in " ".join(" ".join(printed(200, notes=["base"])).split())


def test_a_column_without_a_figure_is_left_out_and_not_said_to_be_too_wide(printed):
    lines = printed(200, rows=[("clid", "n/a", "n/a", "", "15"), ("x", "n/a", "", "", "2")])
    assert head(lines) == ["attack", "AUC", "NFE"]
    assert not any("too narrow" in line for line in lines)


def test_markup_and_control_characters_in_cells_stay_text(printed):
    lines = printed(200, rows=[("[red]a\x1b[31m", "1", "2", "3", "4")])
    assert any("[red]a\\x1b[31m" in line for line in lines)


def test_wide_characters_count_twice(printed):
    lines = printed(12, columns=[Column("n", left=True), Column("v", 1)], rows=[("漢字漢", "1234")])
    assert not any("1234" in line for line in lines)


def test_intervals_and_missing_figures():
    assert interval({"value": 0.8123, "lo": 0.77, "hi": 0.85}) == "0.812 [0.77, 0.85]"
    assert interval({"value": None, "lo": None, "hi": None}) == "n/a"
    assert interval({"value": 0.5, "lo": None, "hi": None}) == "0.500 [n/a]"


@pytest.mark.parametrize(
    ("value", "lo", "hi", "text"),
    [
        (0.8123, 0.78, 0.84, "0.812 [0.78, 0.84]"),
        (0.02112, 0.0203, 0.0217, "0.0211 [0.0203, 0.0217]"),
        (0.5, 0.491, 0.506, "0.500 [0.491, 0.506]"),
        (1.0, 1.0, 1.0, "1.000 [1.00, 1.00]"),
        (0.3, None, None, "0.300 [n/a]"),
    ],
)
def test_decimals_tell_the_ends_of_an_interval_apart(value, lo, hi, text):
    assert interval({"value": value, "lo": lo, "hi": hi}) == text
