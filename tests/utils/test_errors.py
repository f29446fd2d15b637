"""Messages for a person are plain text, whatever they quote."""

from __future__ import annotations

from mia_bench.utils.errors import MiaError, Missing


def test_messages_are_plain_wherever_they_are_shown() -> None:
    assert str(MiaError("caption \x1b[31m")) == r"caption \x1b[31m"


def test_missing_data_is_an_error_for_the_user_too() -> None:
    assert isinstance(Missing("get it there"), MiaError)
