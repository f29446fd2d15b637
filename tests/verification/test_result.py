"""The words in which checks answer: agreement, examples of what differs, or why not checked."""

from __future__ import annotations

from mia_bench.verification.result import DIFFERS, MAX_EXAMPLES, OK, UNCHECKED, few, verdict


def test_no_difference_is_agreement_unless_something_was_not_checked() -> None:
    assert verdict([], "as stored") == (OK, "as stored")
    assert verdict([], "as stored", "no features here") == (UNCHECKED, "no features here")


def test_a_difference_outweighs_what_was_not_checked() -> None:
    assert verdict(["auroc"], "as stored", "no features here") == (DIFFERS, "auroc")


def test_many_differences_are_counted_and_a_few_are_named() -> None:
    names = [f"row {i}" for i in range(MAX_EXAMPLES + 2)]
    state, message = verdict(names, "as stored")
    assert state == DIFFERS
    assert message == "row 0; row 1; row 2; and 2 more"
    assert few(names) == "row 0, row 1, row 2 and 2 more"
    assert few(names[:2]) == "row 0, row 1"
