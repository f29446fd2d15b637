"""What attacks share: calibration rows, and which of their fields decide what is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from mia_bench.attacks import (
    Access,
    Calibration,
    later_field,
    query_fields,
    score_field,
    score_fields,
)
from mia_bench.utils.errors import MiaError

KNOWN = Calibration(
    {"a": np.arange(4.0), "b": np.arange(8.0).reshape(4, 2)},
    np.array([True, True, False, True]),
    np.array(["g0", "g0", "g2", "g3"]),
    seed=5,
)


@dataclass(frozen=True)
class Made:
    timestep: int = 450
    draws: int = later_field(1)
    alpha: float = score_field(0.5)


def test_taken_rows_keep_what_belongs_to_them() -> None:
    taken = KNOWN.take(np.array([2, 0]))
    assert {name: values.tolist() for name, values in taken.features.items()} == {
        "a": [2, 0],
        "b": [[4, 5], [0, 1]],
    }
    assert taken.is_member.tolist() == [False, True]
    assert taken.group.tolist() == ["g2", "g0"]
    assert taken.seed == 5
    assert Calibration({}, taken.is_member, taken.group).seed == 0


def test_too_few_rows_of_either_class_say_how_many_there_are() -> None:
    KNOWN.require(1)
    with pytest.raises(
        MiaError, match=r"^3 members and 1 non-members .* at least 2 of each .* data\.sizes"
    ):
        KNOWN.require(2)


def test_fields_of_score_and_later_ones_at_their_default_are_no_query() -> None:
    assert query_fields(Made()) == {"timestep": 450}  # type: ignore[arg-type]
    assert query_fields(Made(draws=2, alpha=1)) == {"timestep": 450, "draws": 2}  # type: ignore[arg-type]
    assert score_fields(Made(alpha=1)) == {"alpha": 1}  # type: ignore[arg-type]


def test_access_rises_from_generations_to_gradients() -> None:
    assert Access.BLACK_BOX < Access.GREY_BOX < Access.WHITE_BOX
