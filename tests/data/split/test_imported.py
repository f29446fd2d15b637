"""published.py: somebody else's split, checked against the data."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpus import encode, picture
from miniature import write
from PIL import Image
from splits import split_of

from mia_bench.data.source import Item, Listing
from mia_bench.data.split.imported import _match
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role
from mia_bench.utils.errors import MiaError

Import = Callable[..., Split]


@pytest.fixture
def imported(folder_run, tmp_path: Path) -> Import:
    """imported(rows, name="s.csv", *overrides): the split of the album by a table of rows."""

    def build(rows: list[dict[str, Any]], name: str = "s.csv", *overrides: str, **where: Path):
        path = tmp_path / name
        if path.suffix == ".csv":
            with path.open("w", newline="") as handle:
                table = csv.DictWriter(handle, rows[0].keys())
                table.writeheader()
                table.writerows(rows)
        elif path.suffix == ".jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
        else:
            path.write_text(json.dumps(rows))
        given = (f"data.split={path}", *overrides)
        return split_of(folder_run(*given, outputs=tmp_path / "out", **where), tmp_path / "out")[1]

    return build


def members(n: int = 10) -> list[dict[str, Any]]:
    return [{"name": f"p{i:03d}.png", "is_member": int(i < n)} for i in range(2 * n)]


@pytest.mark.first_look
@pytest.mark.parametrize("name", ["s.csv", "s.json", "s.jsonl"])
def test_members_by_file_name(name: str, imported: Import) -> None:
    split = imported(members(), name)
    roles = {row.name: row.role for row in split.table}
    assert all(roles[f"p{i:03d}.png"] is Role.TARGET_MEMBER for i in range(10))
    assert all(roles[f"p{i:03d}.png"] is Role.TARGET_NONMEMBER for i in range(10, 20))
    # the table says nothing of the shadow: it comes from the other rows
    assert Counter(split.role)[Role.SHADOW_MEMBER] == 12
    assert Counter(split.role)[Role.TARGET_MEMBER] == 10
    assert f"imported from {name}: 10 target_member, 10 target_nonmember" in split.note


def test_an_exported_manifest_comes_back(folder_run, tmp_path: Path) -> None:
    first = split_of(folder_run(outputs=tmp_path / "a"), tmp_path / "a")
    again = folder_run(f"data.split={first[2]}", "seed=5", outputs=tmp_path / "b")
    split = split_of(again, tmp_path / "b")[1]
    assert {r.sample_id: r.role for r in split.table} == {
        r.sample_id: r.role for r in first[1].table
    }


def test_names_may_leave_out_the_folder_when_they_are_unique(imported: Import) -> None:
    rows = [{"file_name": f"val/p{i:03d}.png", "role": "target_member"} for i in range(4)]
    rows += [{"file_name": f"p{i:03d}.png", "role": "target_nonmember"} for i in range(4, 9)]
    assert Counter(imported(rows).role)[Role.TARGET_MEMBER] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "gone.png"}, r"1 of 20 rows are not in the data .* 'gone\.png'"),
        ({"name": "p001.png", "is_member": 0}, "1 of 20 rows have two roles, .* 'p001.png'"),
        ({"is_member": "perhaps"}, "'p000.png' has neither role .* nor is_member"),
        ({"role": "memer"}, "'memer' is not a valid Role. Roles: target_member"),
        ({"caption_hash": "0123"}, "1 of 20 rows have another caption"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(imported: Import, change, message: str) -> None:
    rows = members()
    rows[0] |= change
    with pytest.raises(MiaError, match=message):
        imported(rows, "s.json")


@pytest.mark.parametrize("text", ["", "[]", "[1]", '{"lines": []}', "[{", "\udcff"])
def test_a_file_that_is_no_table_is_refused(text: str, folder_run, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    experiment = folder_run(f"data.split={tmp_path / 's.json'}", outputs=tmp_path)
    with pytest.raises(MiaError, match=r"s\.json cannot be read"):
        split_of(experiment, tmp_path)


def test_a_file_that_is_not_there(folder_run, tmp_path: Path) -> None:
    experiment = folder_run("data.split=nowhere.csv", outputs=tmp_path)
    with pytest.raises(MiaError, match=r"nowhere\.csv cannot be read: No such file"):
        split_of(experiment, tmp_path)


def test_another_table_is_another_split(imported: Import, tmp_path: Path) -> None:
    one, other = imported(members(10)), imported(members(9))
    assert one.content_hash != other.content_hash
    assert len(list((tmp_path / "out/splits").glob("*.json"))) == 2


def test_near_duplicates_on_both_sides_are_cut_and_counted(imported: Import, tmp_path) -> None:
    from album import make_album

    root = make_album(tmp_path / "album", 70)
    write(root / "p010.png", encode(picture(2_000), compress_level=1))  # p000 in other bytes
    split = imported(members(), "s.csv", root=root)
    by_name = {row.name: row for row in split.table}
    assert "1 near-duplicate groups stand on both sides" in split.note
    assert by_name["p000.png"].group != by_name["p010.png"].group
    assert by_name["p010.png"].role is Role.TARGET_NONMEMBER


def matched(names: list[str], *rows: dict[str, Any]) -> list[str]:
    """The ids of the rows, in data with pictures of these names; ids are positions."""
    items = tuple(Item(str(i), "a", name, Image.new) for i, name in enumerate(names))
    table = [{"is_member": 1, **row} for row in rows]
    return list(_match(table, Listing(items), Path("s.csv")))


def test_a_name_of_several_pictures_is_refused() -> None:
    for names in (["a/0.png", "b/0.png"], ["0.png", "0.png"]):
        with pytest.raises(MiaError, match=r"'0\.png' is the name of 2 pictures"):
            matched(names, {"name": "0.png"})
    assert matched(["a/0.png", "b/0.png"], {"name": "b/0.png"}, {"name": "a\\0.png"}) == ["1", "0"]


def test_a_folder_in_a_name_is_the_pictures_own() -> None:
    with pytest.raises(MiaError, match="are not in the data"):
        matched(["train/0.png"], {"name": "test/0.png"})
    assert matched(["train/0.png"], {"name": "/data/x/train/0.png"}) == ["0"]
    assert matched(["x/train/0.png"], {"name": "train/0"}) == ["0"]
    assert matched(["7.png"], {"name": 7}) == ["0"]
    assert matched(["0.png"], {"file_name": 0}) == ["0"]


def test_a_table_without_names_lists_its_columns() -> None:
    with pytest.raises(MiaError, match="Its columns: is_member, Unnamed"):
        matched(["0.png"], {"Unnamed": "0.png"})


AUDITED = ("model.finetune=false", "calibration=split", "attack=loss")


@pytest.mark.parametrize(("member", "absent"), [(1, "non-members"), (0, "members")])
def test_an_audit_is_told_of_members_and_of_others(
    member: int, absent: str, imported: Import
) -> None:
    rows = [{"name": f"p{i:03d}.png", "is_member": member} for i in range(12)]
    with pytest.raises(MiaError, match=rf"s\.csv names no {absent}, .*nothing is known"):
        imported(rows, "s.csv", *AUDITED)
    # whoever is fine-tuned on here is a member, whatever the file leaves out
    assert Counter(imported(rows, "s.csv").role)[Role.TARGET_MEMBER] >= 12


def test_numbers_that_a_table_made_fractions_of_are_names(folder_run, tmp_path: Path) -> None:
    from album import make_album

    root = make_album(tmp_path / "album", 24)
    for i, path in enumerate(sorted(root.glob("p*.png"))):
        path.rename(root / f"{i}.png")
        write(root / f"{i}.txt", f"a picture of number {i}")
    (root / "metadata.jsonl").unlink()
    rows = "".join(f"{float(i)},{float(i < 12)}\n" for i in range(24))
    (tmp_path / "s.csv").write_text(f"name,is_member\n{rows}")
    none = [f"data.sizes.{role}=0" for role in ("shadow_member", "shadow_nonmember", "validation")]
    words = (*AUDITED, f"data.split={tmp_path / 's.csv'}", *none)
    split = split_of(folder_run(*words, outputs=tmp_path / "out", root=root), tmp_path / "out")[1]
    members = {row.name for row in split.table if row.role is Role.TARGET_MEMBER}
    assert members == {f"{i}.png" for i in range(12)}
