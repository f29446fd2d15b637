"""Published splits: tables, lists of members, arrays of positions; what they say and do not say."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mia_bench.data.source import Item, Listing, Skip
from mia_bench.data.split import published
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
        ({"members": [1, 0, 1, 1]}, "names a position twice"),
        ({"other": [1]}, "has the arrays other"),
    ],
)
def test_positions_that_say_nothing_are_refused(arrays, message, tmp_path: Path) -> None:
    np.savez(tmp_path / "split.npz", **arrays)
    with pytest.raises(MiaError, match=message):
        published_rows(tmp_path / "split.npz", listing(4))


def test_a_stopped_download_of_positions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    np.savez(path, members=[0, 1], nonmembers=[2, 3])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MiaError, match=r"split\.npz cannot be read: .*Fetch it again"):
        published_rows(path, listing(4))


def test_positions_that_unfold_without_bound_are_refused_unread(
    tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "split.npz"
    np.savez_compressed(path, members=np.zeros(1 << 20, np.int64))
    assert path.stat().st_size < 1 << 16
    monkeypatch.setattr(published, "MAX_POSITIONS_BYTES", 1 << 20)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("read all the same"))
    with pytest.raises(MiaError, match=r"unfolds to 8,388,736 bytes, at most 1,048,576 are read"):
        published_rows(path, listing(4))


@pytest.mark.parametrize("shape", ["(9999999999999999,)", "(99999999999,)", "(-1,)"])
def test_positions_whose_header_claims_more_than_is_there_are_refused(
    shape: str, tmp_path: Path
) -> None:
    """An array of as many petabytes cannot be had, and one of as many gigabytes ends early."""
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    with zipfile.ZipFile(tmp_path / "split.npz", "w") as archive:
        archive.writestr("members.npy", header)
    with pytest.raises(MiaError, match=r"split\.npz cannot be read: "):
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


def test_positions_in_tables_of_another_order_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "split.npz", members=[0], nonmembers=[1])
    other = replace(listing(4), rows_in_order=False)
    with pytest.raises(MiaError, match="the order of names in the data is not that of"):
        published_rows(tmp_path / "split.npz", other)


@pytest.mark.parametrize(
    "content",
    [
        {"train": ["a.png"], "test": ["b.png"]},
        {"members": ["a.png"], "nonmembers": ["b.png"]},
        {"a.png": 1, "b.png": 0},
        {"a.png": "member", "b.png": "nonmember"},
        {"a.png": True, "b.png": False},
        {"a.png": {"is_member": 1}, "b.png": {"is_member": 0}},
        [{"name": "a.png", "split": "train"}, {"name": "b.png", "split": "holdout"}],
    ],
)
def test_every_form_of_json_names_members_and_others(content: object, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    rows = published_rows(path, listing(0))
    roles = [role_of(row, path, "a") for row in rows]
    assert [row.get("name") or row.get("file_name") for row in rows] == ["a.png", "b.png"]
    assert roles == [Role.TARGET_MEMBER, Role.TARGET_NONMEMBER]


def test_columns_that_contradict_each_other_are_refused() -> None:
    for row in (
        {"is_member": 1, "split": "test"},
        {"role": "target_nonmember", "is_member": "1"},
        {"member": "yes", "split": "val"},
    ):
        with pytest.raises(MiaError, match="columns contradict each other about 'a'"):
            role_of(row, Path("split.csv"), "a")
    agreeing = {"role": "target_member", "is_member": 1.0, "split": ""}
    assert role_of(agreeing, Path("split.csv"), "a") is Role.TARGET_MEMBER
    shadow = {"role": "shadow_member", "is_member": 1}
    assert role_of(shadow, Path("split.csv"), "a") is Role.SHADOW_MEMBER


def test_positions_among_numbers_that_names_do_not_follow_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "split.npz", members=[0], nonmembers=[1])

    def numbered(names: list[str]) -> Listing:
        items = sorted(zip(names, listing(len(names)).items, strict=True))
        return replace(listing(0), items=tuple(replace(item, name=n) for n, item in items))

    with pytest.raises(MiaError, match=r"10\.png comes before 2\.png"):
        published_rows(tmp_path / "split.npz", numbered(["1.png", "2.png", "10.png"]))
    for names in (["01.png", "02.png", "10.png"], ["a10.png", "b2.png"], ["a.png", "10.png", "2"]):
        assert len(published_rows(tmp_path / "split.npz", numbered(names))) == 2


def test_a_word_that_says_nothing_is_shown() -> None:
    with pytest.raises(MiaError, match=r"'a' has neither role .*: its is_member is 'in'"):
        role_of({"name": "a", "is_member": "in"}, Path("split.csv"), "a")
