"""Published splits: tables, lists of members, arrays of positions; what they say and do not say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mia_bench.data.source import Item, Listing, Skip
from mia_bench.data.split.published import published_rows, read_table, role_of
from mia_bench.data.split.roles import Role
from mia_bench.utils.errors import MiaError


def listing(n: int, skipped: tuple[Skip, ...] = ()) -> Listing:
    items = tuple(Item(f"x:{i}", "a caption", f"{i}.png", Image.new) for i in range(n))
    return Listing(items, skipped, 0)


def test_positions_are_members_and_non_members(tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    np.savez(path, mia_train_idxs=[2, 0], mia_eval_idxs=[1], ratio=[0.5])
    rows = {row["sample_id"]: row["role"] for row in published_rows(path, listing(4))}
    assert rows == {"x:0": "target_member", "x:2": "target_member", "x:1": "target_nonmember"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"members": [7]}, "reaches from 7 to 7, and the data has 4 rows"),
        ({"members": [0.5]}, "holds float64"),
        ({"other": [1]}, "has the arrays other"),
    ],
)
def test_positions_that_say_nothing_are_refused(arrays, message, tmp_path: Path) -> None:
    np.savez(tmp_path / "split.npz", **arrays)
    with pytest.raises(MiaError, match=message):
        published_rows(tmp_path / "split.npz", listing(4))


def test_a_list_names_the_members(tmp_path: Path) -> None:
    (tmp_path / "members.txt").write_text("a.png\n\nb.png\n")
    rows = published_rows(tmp_path / "members.txt", listing(0))
    assert rows == [{"name": "a.png", "is_member": 1}, {"name": "b.png", "is_member": 1}]
    (tmp_path / "members.txt").write_text("\n")
    with pytest.raises(MiaError, match="is empty"):
        published_rows(tmp_path / "members.txt", listing(0))


def test_roles_and_words_of_membership() -> None:
    path = Path("split.csv")
    assert role_of({"role": "shadow_member"}, path, "a") is Role.SHADOW_MEMBER
    assert role_of({"split": "train"}, path, "a") is Role.TARGET_MEMBER
    assert role_of({"is_member": 0}, path, "a") is Role.TARGET_NONMEMBER
    for row in ({"role": "boss"}, {"split": "other"}, {"name": "a"}):
        with pytest.raises(MiaError, match=r"split\.csv"):
            role_of(row, path, "a")


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("name,is_member\na.png,1\nb.png,1,x\n")
    with pytest.raises(MiaError, match="line 3: 3 fields where the header has 2"):
        read_table(tmp_path / "split.csv")
