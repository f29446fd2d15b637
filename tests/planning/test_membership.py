"""membership.py: who is a member is dealt by us, or told; an audit whose labels nobody gives is
refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from corpus import encode, picture
from miniature import pictures, table, write
from splits import split_of

from mia_bench.config.schema import Data
from mia_bench.data.split.roles import Role
from mia_bench.execution.run import execute
from mia_bench.planning.make_plan import make_plan
from mia_bench.planning.membership import by_column
from mia_bench.utils.errors import MiaError

AUDIT = ("model.finetune=false", "calibration=split")
MEMBER, OTHER = Role.TARGET_MEMBER, Role.TARGET_NONMEMBER


def labelled_album(root: Path, column: str, words: list[str | int | bool], n: int = 40) -> Path:
    """An album whose picture i has words[i modulo their number] in `column`; csv."""
    lines = [f"file_name,text,{column}"]
    for i in range(n):
        write(root / f"p{i:03d}.png", encode(picture(2_000 + i)))
        lines.append(f"p{i:03d}.png,picture {i} of {i * 7} words,{words[i % len(words)]}")
    write(root / "metadata.csv", "\n".join(lines))
    return root


def roles_of(split) -> dict[str, Role]:
    return {row.name: row.role for row in split.table}


@pytest.mark.parametrize("data", ["openmoji", "imagefolder"])
def test_labels_of_nobody_are_refused_and_the_ways_out_named(data, small, album, tmp_path) -> None:
    where = () if data == "openmoji" else (f"data.source.root={album}",)
    run = small(f"data={data}", *where, *AUDIT, outputs=tmp_path)
    with pytest.raises(
        MiaError, match=r"of nobody.*data=given.*data\.split=.*data\.source\.member"
    ):
        make_plan(run)
    assert not (tmp_path / "splits").exists()


@pytest.mark.long
def test_a_null_experiment_says_that_it_is_one(small, tmp_path) -> None:
    plan = make_plan(small(*AUDIT, "data.random_labels=true", outputs=tmp_path))
    assert Counter(plan.split.role)[MEMBER] > 0
    with pytest.raises(MiaError, match=r"data\.random_labels=true is for a model that is audited"):
        small("data.random_labels=true", outputs=tmp_path)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("is_member", ["1", "0"]),
        ("is_member", ["True", "False"]),
        ("member", ["member", "nonmember"]),
        ("split", ["train", "test"]),
    ],
)
def test_a_column_says_who_is_a_member(column, words, folder_run, tmp_path) -> None:
    root = labelled_album(tmp_path / "album", column, words)
    split = split_of(folder_run(*AUDIT, outputs=tmp_path, root=root), tmp_path)[1]
    wanted = {f"p{i:03d}.png": OTHER if i % 2 else MEMBER for i in range(40)}
    assert roles_of(split) == wanted
    assert f"who is a member: column {column} of the data: 20 target_member" in split.note


def test_rows_of_validation_and_rows_without_a_word_are_not_evaluated(folder_run, tmp_path) -> None:
    root = labelled_album(tmp_path / "album", "split", ["train", "test", "val", ""])
    split = split_of(folder_run(*AUDIT, outputs=tmp_path, root=root), tmp_path)[1]
    roles = roles_of(split)
    assert [roles.get(f"p{i:03d}.png") for i in range(3)] == [MEMBER, OTHER, Role.VALIDATION]
    assert roles.get("p003.png") not in (MEMBER, OTHER)


@pytest.mark.long
def test_a_column_of_another_name_is_named(folder_run, tmp_path) -> None:
    root = labelled_album(tmp_path / "album", "seen", ["yes", "no"])
    named = folder_run(*AUDIT, "data.source.member=seen", outputs=tmp_path, root=root)
    assert Counter(split_of(named, tmp_path)[1].role) == {MEMBER: 20, OTHER: 20}
    with pytest.raises(MiaError, match=r"Columns seen: file_name, text, seen"):
        split_of(folder_run(*AUDIT, outputs=tmp_path, root=root), tmp_path)
    absent = folder_run(*AUDIT, "data.source.member=saw", outputs=tmp_path, root=root)
    with pytest.raises(
        MiaError, match=r"member=saw: there is no such column.*file_name, text, seen"
    ):
        split_of(absent, tmp_path)


def test_other_words_are_refused_where_the_column_is_named(folder_run, tmp_path) -> None:
    root = labelled_album(tmp_path / "album", "seen", ["perhaps", "no"])
    run = folder_run(*AUDIT, "data.source.member=seen", outputs=tmp_path, root=root)
    with pytest.raises(MiaError, match=r"member=seen holds 'perhaps'.*train/test"):
        split_of(run, tmp_path)


def test_members_alone_are_not_enough(folder_run, tmp_path) -> None:
    root = labelled_album(tmp_path / "album", "seen", ["yes"])
    run = folder_run(*AUDIT, "data.source.member=seen", outputs=tmp_path, root=root)
    with pytest.raises(MiaError, match="names 40 members and 0 non-members"):
        split_of(run, tmp_path)


@pytest.mark.long
def test_a_fine_tune_deals_members_itself_and_says_that_a_column_is_not_used(
    folder_run, tmp_path
) -> None:
    root = labelled_album(tmp_path / "album", "is_member", ["1", "0"], 70)
    split = split_of(folder_run(outputs=tmp_path, root=root), tmp_path)[1]
    assert "column is_member of the data says who is a member and is not used" in split.summary()
    assert {role for name, role in roles_of(split).items() if role is MEMBER and name} == {MEMBER}
    used = folder_run(
        "data.source.member=is_member", "calibration=split", outputs=tmp_path, root=root
    )
    assert Counter(split_of(used, tmp_path)[1].role) == {MEMBER: 35, OTHER: 35}


def test_a_column_that_changed_since_the_split_is_refused(folder_run, tmp_path) -> None:
    root = labelled_album(tmp_path / "album", "is_member", ["1", "0"])
    run = folder_run(*AUDIT, outputs=tmp_path, root=root)
    split_of(run, tmp_path)
    labelled_album(root, "is_member", ["0", "1"])
    with pytest.raises(MiaError, match=r"column is_member .* something else of 40 rows"):
        split_of(run, tmp_path)


def test_copies_that_contradict_each_other_are_nobody(folder_run, tmp_path) -> None:
    root = labelled_album(tmp_path / "album", "is_member", ["1", "0"])
    write(root / "p001.png", encode(picture(2_000)))  # p000, a member, once more as a non-member
    split = split_of(folder_run(*AUDIT, outputs=tmp_path, root=root), tmp_path)[1]
    assert Counter(split.role) == {MEMBER: 19, OTHER: 19}
    assert "1 rows are said to be both" in split.note


@pytest.mark.parametrize("column", ["is_member", "split"])
def test_a_column_of_a_table_says_it_too(column, small, tmp_path) -> None:
    words = {"is_member": [1, 0], "split": ["train", "test"]}[column] * 20
    captions = [f"picture {i} of {i * 7} words" for i in range(40)]
    table(tmp_path / "t/a.parquet", image=pictures(40), text=captions, **{column: words})
    run = small("data=parquet", f"data.source.root={tmp_path / 't'}", *AUDIT, outputs=tmp_path)
    split = split_of(run, tmp_path)[1]
    assert Counter(split.role) == {MEMBER: 20, OTHER: 20}
    assert roles_of(split)["a/0000000"] is MEMBER


@pytest.mark.long
def test_an_audit_by_a_column_is_scored_to_the_end(folder_run, tmp_path) -> None:
    root = labelled_album(tmp_path / "album", "is_member", ["1", "0"], 60)
    run = folder_run(*AUDIT, "attack=loss", "eval.blind_rows=false", outputs=tmp_path, root=root)
    ((_, metrics, folder),) = execute(run).results
    scores = pd.read_parquet(folder / "scores.parquet")
    assert Counter(scores["is_member"]) == {True: 30, False: 30}
    evaluated = scores[~scores["calibration"]]["is_member"]
    assert (metrics["n_members"], metrics["n_nonmembers"]) == (sum(evaluated), sum(~evaluated))


def test_a_file_and_a_column_at_once_are_refused() -> None:
    with pytest.raises(MiaError, match="leave one out"):
        by_column(Data(split="s.csv"), {"member": "is_member"}, False)


@pytest.mark.parametrize(
    ("pools", "told"),
    [
        ({}, False),
        ({"target_member": "a"}, False),
        ({"target_member": "a", "target_nonmember": "a"}, False),
        ({"target_member": "a", "target_nonmember": "b"}, True),
    ],
)
def test_pools_tell_when_members_have_one_of_their_own(pools, told) -> None:
    assert by_column(Data(pools=pools), {}, False) is not told


def test_an_imported_split_tells(folder_run, tmp_path) -> None:
    rows = [{"name": f"p{i:03d}.png", "is_member": int(i < 10)} for i in range(20)]
    write(tmp_path / "s.json", json.dumps(rows))
    run = folder_run(*AUDIT, f"data.split={tmp_path / 's.json'}", outputs=tmp_path)
    assert Counter(split_of(run, tmp_path)[1].role)[MEMBER] == 10
