"""Text from data cannot steer a terminal, and a typo gets the nearest word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mia_bench.utils.text import (
    MAX_NAME_CHARACTERS,
    nearest,
    p_text,
    printable,
    safe_name,
    sanitise,
    sanitise_lines,
    table_cell,
)


@given(st.text())
def test_nothing_that_steers_is_left(text: str) -> None:
    visible = sanitise(text)
    assert all(c.isprintable() or c in "\u200c\u200d" for c in visible)
    assert sanitise(visible) == visible


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=900))
def test_what_is_printable_stays(text: str) -> None:
    assert sanitise(text) == text


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("tab\there,\u00a0space", "tab here, space"),
        ("first\rsecond", r"first\rsecond"),
        ("alone \ud800", r"alone \ud800"),
        ("👩\u200d🚀 é 名前", "👩\u200d🚀 é 名前"),
    ],
)
def test_escapes_become_visible(text: str, visible: str) -> None:
    assert sanitise(text) == visible


def test_lines_stay_lines_and_long_text_is_cut() -> None:
    assert sanitise_lines("a\r\nb\x1b\nc") == "a\nb\\x1b\nc"
    cut = sanitise_lines("x" * 50_000)
    assert len(cut) < 1_100
    assert "49,000 characters" in cut
    many = sanitise_lines("\n".join(map(str, range(1000))), 10).splitlines()
    assert many[:2] + many[5:7] + many[-1:] == ["0", "1", "... 990 lines ...", "995", "999"]


def test_nearest_falls_back_to_the_list():
    assert nearest("zzz", ["alpha", "beta"]) == "Known: alpha, beta."


def test_nearest_names_one_word_when_it_is_close():
    assert nearest("alhpa", ["alpha", "beta"]) == "Did you mean 'alpha'?"


def test_printable_text_has_spaces_for_control_characters() -> None:
    assert printable("a\0b\nc \ud800") == "a b c  "
    assert printable("é 名前") == "é 名前"


@pytest.mark.parametrize(
    ("sample_id", "name"),
    [
        ("openmoji:0123", "openmoji_0123"),
        ("../../etc/passwd", "etc_passwd"),
        (".hidden", "hidden"),
        ("???", "sample"),
        ("", "sample"),
    ],
)
def test_names_of_files_are_never_hidden_or_paths(sample_id: str, name: str) -> None:
    assert safe_name(sample_id) == name


def test_names_of_files_are_short() -> None:
    assert len(safe_name("x" * 500)) == MAX_NAME_CHARACTERS


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        (" \t@sum(a)", "'  @sum(a)"),
        ("\r-2", "\\r-2"),
        ("＝cmd|' /c calc'!A0", "'＝cmd|' /c calc'!A0"),
        ("a\x1b[31m\nb\u202ec", "a\\x1b[31m\\nb\\u202ec"),
        ("plain", "plain"),
    ],
)
def test_cells_of_tables_neither_run_nor_steer(text, cell):
    assert table_cell(text) == cell


@pytest.mark.parametrize(
    ("p", "floor", "text"),
    [
        (0.0342, 0.0, "0.034"),
        (0.0001, 0.0, "< 0.0005"),
        (2 / 2001, 2 / 2001, "< 0.001"),
        (2 / 201, 2 / 201, "< 0.010"),
        (2 / 200_001, 2 / 200_001, "< 0.0005"),
        (1.0, 2 / 2001, "1.000"),
    ],
)
def test_p_values_never_read_as_nothing(p, floor, text):
    assert p_text(p, floor) == text
