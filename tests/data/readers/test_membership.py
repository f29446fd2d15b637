"""Words of membership, the column that has them, and rows that contradict each other."""

from __future__ import annotations

import pytest

from mia_bench.data.readers.membership import (
    MEMBER,
    NONMEMBER,
    VALIDATION,
    joined,
    label_column,
    label_of,
)
from mia_bench.utils.errors import MiaError


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *((value, MEMBER) for value in (1, True, 1.0, "1", "Train", " member ", "yes")),
        *((value, NONMEMBER) for value in (0, False, 0.0, "FALSE", "test", "nonmember", "no")),
        *((value, VALIDATION) for value in ("val", "dev")),
        *((value, "") for value in (None, "", "  ", float("nan"))),
        *((value, None) for value in (2, 0.5, "maybe", [1])),
    ],
)
def test_words(value: object, label: str | None) -> None:
    assert label_of(value) == label


def test_the_first_column_that_tells_both_apart_is_taken() -> None:
    columns = {"split": ["train", "test"], "member": ["yes", "yes"], "caption": ["a", "b"]}
    assert label_column(columns, None) == "split"
    assert label_column({"caption": ["train", "test"]}, None) == ""
    assert label_column({"in_training": [1, 0]}, "in_training") == "in_training"


def test_a_named_column_is_there_and_has_words_of_membership() -> None:
    with pytest.raises(MiaError, match=r"no such column\. There are: split"):
        label_column({"split": ["train"]}, "used")
    with pytest.raises(MiaError, match="'perhaps'"):
        label_column({"used": ["yes", "perhaps"]}, "used")


def test_rows_of_one_picture_agree_or_contradict() -> None:
    assert joined([MEMBER, "", MEMBER]) == MEMBER
    assert joined([MEMBER, NONMEMBER]) == "member+nonmember"
    assert joined([""]) == ""
