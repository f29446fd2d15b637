"""plain.py: text from data cannot steer a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import sanitise, sanitise_lines


@given(st.text())
def test_nothing_that_steers_is_left(text: str) -> None:
    found = sanitise(text)
    assert all(c.isprintable() or c in "\u200c\u200d" for c in found)
    assert sanitise(found) == found


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=900))
def test_what_is_printable_stays(text: str) -> None:
    assert sanitise(text) == text


@pytest.mark.parametrize(
    ("text", "found"),
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
def test_escapes_become_visible(text: str, found: str) -> None:
    assert sanitise(text) == found


def test_lines_stay_lines_and_long_text_is_cut() -> None:
    assert sanitise_lines("a\r\nb\x1b\nc") == "a\nb\\x1b\nc"
    cut = sanitise_lines("x" * 50_000)
    assert len(cut) < 1_100
    assert "49,000 characters" in cut
    many = sanitise_lines("\n".join(map(str, range(1000))), 10).splitlines()
    assert many[:2] + many[5:7] + many[-1:] == ["0", "1", "... 990 lines ...", "995", "999"]


def test_messages_are_plain_wherever_they_are_shown() -> None:
    assert str(MiaError("caption \x1b[31m")) == r"caption \x1b[31m"


def test_say_writes_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    echo("out \x1b[1m")
    echo("wrong \x1b[1m", error=True)
    assert capsys.readouterr() == ("out \\x1b[1m\n", "wrong \\x1b[1m\n")
