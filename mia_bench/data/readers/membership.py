"""Who is a member, as a column of the data says it.

`is_member` (1/0, true/false), `member` (member/nonmember, yes/no) or `split` (train/test; val is
validation): members are what the model was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mia_bench.utils.errors import MiaError

MEMBER, NONMEMBER, VALIDATION = "member", "nonmember", "validation"
SPLIT = "split"
COLUMNS = ("is_member", "member", SPLIT)
"""Columns that are looked for where none is named, the first of them first."""
WORDS = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "member", "members", "train", "training"), MEMBER),
    **dict.fromkeys(("0", "0.0", "false", "no", "test", "testing"), NONMEMBER),
    **dict.fromkeys(("nonmember", "non-member", "non_member"), NONMEMBER),
    **dict.fromkeys(("nonmembers", "non-members"), NONMEMBER),
    **dict.fromkeys(("heldout", "held-out", "held_out", "holdout"), NONMEMBER),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
}
MAX_EXAMPLES = 3


def label_of(value: Any) -> str | None:
    """member, nonmember or validation; "" for an empty value, None for what is none of WORDS."""
    if value is None or value != value:  # NaN, a table's empty number
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    word = str(value).strip().lower()
    return WORDS.get(word) if word else ""


def label_column(columns: Mapping[str, Sequence[Any]], named: str | None) -> str:
    """The column that tells members from non-members, "" where there is none.

    Args:
        columns: values by column.
        named: the column of data.source.member; None: the first of COLUMNS whose every value is a
            word of membership, with members and non-members among them.

    Raises:
        MiaError: the named column is not there, or has other words.
    """
    if named is None:
        return next((name for name in COLUMNS if _tells_apart(columns.get(name, ()))), "")
    if named not in columns:
        raise MiaError(
            f"data.source.member={named}: there is no such column. There are: "
            f"{', '.join(columns) or 'none'}."
        )
    unknown = sorted({str(value)[:40] for value in columns[named] if label_of(value) is None})
    if unknown:
        raise MiaError(
            f"data.source.member={named} holds {', '.join(map(repr, unknown[:MAX_EXAMPLES]))}, and "
            "membership is said by member/nonmember, train/test, true/false or 1/0 (val: neither; "
            "empty: not known)."
        )
    return named


def joined(labels: Iterable[str]) -> str:
    """The label of a picture that several rows are about; "a+b" where they contradict."""
    return "+".join(sorted({label for label in labels if label}))


def _tells_apart(values: Sequence[Any]) -> bool:
    labels = {label_of(value) for value in values}
    return None not in labels and {MEMBER, NONMEMBER} <= labels
